"""Soft labels on their way to the step: scaled, padded, mirrored and mixed as the labels that they belong to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.data import batches
from csst_jax.data.augment import Augmentation, Photometry
from csst_jax.data.crop import scaled_crop
from csst_jax.data.crop_plan import BatchSpec
from csst_jax.data.stored import tiles
from csst_jax.methods.base import Crops
from csst_jax.methods.mixing import classmix, cutmix
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.samplers.plan import PLAN_DTYPE
from csst_jax.streams import PSEUDO, REAL, WEAK, Stream

SIZE = (140, 150)
LABEL = np.random.default_rng(0).integers(0, 60, SIZE).astype(np.uint8)
OTHERS = np.stack([LABEL + 1, LABEL + 2, LABEL + 3, LABEL + 4], -1)
IMAGE = tiles.encode(np.repeat(LABEL[..., None], 3, -1))
HARD, SOFT = tiles.encode(LABEL), tiles.encode_planes(np.concatenate([LABEL[..., None], OTHERS], -1))
UNION = Stream("labelled", (REAL, PSEUDO), marked=True, soft=4)


def crop(label, centre, scale, crop_px=96):
    found = np.empty((crop_px, crop_px), np.uint8)
    image, soft = np.empty((*found.shape, 3), np.uint8), np.full((4, *found.shape), 7, np.uint8)
    scaled_crop(IMAGE, label, np.array(centre), scale, False, image_out=image, label_out=found, soft_out=soft)
    return found, soft


@pytest.mark.parametrize("scale", [0.5, 0.83, 1.0, 2.0])
@pytest.mark.parametrize("centre", [(70, 70), (0, 149)])
def test_classes_and_probabilities_are_those_of_the_labels_pixel(scale, centre):
    found, soft = crop(SOFT, centre, scale)
    np.testing.assert_array_equal(found, crop(HARD, centre, scale)[0])
    inside = found != 255
    assert inside.all() == (scale > 0.7)
    for number, own in enumerate(soft, 1):
        np.testing.assert_array_equal(own, np.where(inside, found + number, 0))


def test_a_hard_label_has_no_other_classes():
    assert not crop(HARD, (70, 70), 0.5)[1].any()


def test_a_batch_has_both_kinds_and_marks_the_pseudo_labels():
    class Images:
        def __init__(self, label):
            self.label = label

        def pair_bytes(self, record):
            return IMAGE, self.label

    rows = np.zeros(4, PLAN_DTYPE)
    rows["origin"], rows["y"], rows["x"] = [0, 1, 1, 0], 70, 70
    samples = np.zeros((4, 2), np.int32)
    spec = BatchSpec(32, {"labelled": 4}, rows, np.ones(4, np.float32), samples)
    (step,) = batches.batches(iter([spec]), [UNION], [Images(HARD), Images(SOFT)], parallel_batches=1, prefetch=1)
    found = step["labelled"]
    assert found["pseudo"].tolist() == [False, True, True, False]
    assert found["soft"].shape == (4, 4, 32, 32) and not found["soft"][[0, 3]].any()
    np.testing.assert_array_equal(found["soft"][1], found["label"][1] + np.arange(1, 5, dtype=np.uint8)[:, None, None])


def test_a_mirrored_crop_has_mirrored_soft_labels():
    label = LABEL[None, :32, :32].repeat(6, 0)
    arrays = {
        "image": np.zeros((6, 32, 32, 3), np.uint8),
        "label": label,
        "soft": np.moveaxis(OTHERS[None, :32, :32].repeat(6, 0), -1, 1),
        "pseudo": np.ones(6, bool),
        "sample": np.stack([np.zeros(6, np.int32), np.arange(6, dtype=np.int32)], 1),
    }
    augmentation = Augmentation(0.5, {WEAK: Photometry(0.0, 0.0)}, IMAGENET)

    @jax.jit
    def augmented(arrays):
        crops = augmentation(UNION, arrays, jax.random.key(0))
        return crops.labels, crops.soft, crops.pseudo

    labels, soft, pseudo = jax.device_get(augmented(arrays))
    mirrored = (labels != label).any((1, 2))
    assert 0 < mirrored.sum() < 6 and pseudo.all()
    for number in range(4):
        np.testing.assert_array_equal(soft[..., number], labels + number + 1)


@pytest.mark.slow
def test_what_is_pasted_takes_its_soft_labels_with_it():
    @jax.jit
    def mixed(labels):
        keys = jax.random.split(jax.random.key(0), 4)
        images = {WEAK: jnp.zeros((*labels.shape, 3))}
        crops = Crops(images, labels, keys, jnp.stack([labels + 1, labels + 2], -1))
        pasted = cutmix(crops, 1.0)
        onto = classmix(Crops(images, labels + 50, keys), crops, 1.0)
        return pasted.labels, pasted.soft, onto.labels, onto.soft

    labels = np.random.default_rng(1).integers(0, 5, (4, 8, 8)).astype(np.uint8)
    boxes, their_soft, classes, left = jax.device_get(mixed(labels))
    assert (boxes != labels).any()
    np.testing.assert_array_equal(their_soft, np.stack([boxes + 1, boxes + 2], -1))
    pasted = classes >= 50
    assert pasted.any() and not pasted.all()
    np.testing.assert_array_equal(left, np.stack([labels + 1, labels + 2], -1) * ~pasted[..., None])
