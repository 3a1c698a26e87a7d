"""Photometry on the device: what each part does, and that a sample's draws are its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.data.augment import Augmentation, Photometry
from csst_jax.methods.mean_teacher import MeanTeacher
from csst_jax.models.preprocessing import Preprocessing
from csst_jax.streams import LABELLED, STRONG, WEAK

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
UNIT = {"preprocessing": Preprocessing((0.0,) * 3, (1.0,) * 3)}


def weakly(flip=0.0, jitter=0.0, blur=0.0, preprocessing=Preprocessing(MEAN, STD)):  # noqa: B008
    return Augmentation(flip, {WEAK: Photometry(jitter, blur)}, preprocessing)


KEY = jax.random.key(3)


def samples(count, epoch=2):
    return np.stack([np.full(count, epoch), np.arange(count)], 1).astype(np.int32)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (8, 12, 10, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(1).integers(0, 5, (8, 12, 10)).astype(np.uint8)


@functools.partial(jax.jit, static_argnums=0)
def compiled(augmentation, images, labels, which, key):
    crops = augmentation(LABELLED, {"image": images, "label": labels, "sample": which}, key)
    return crops.images[WEAK], crops.labels


def apply(augmentation, images, labels, which=None, key=KEY):
    return compiled(Hashed(augmentation), images, labels, samples(len(images)) if which is None else which, key)


class Hashed:
    """An augmentation as a static argument: its views are a dict."""

    def __init__(self, augmentation):
        self.augmentation = augmentation

    def __call__(self, *arguments):
        return self.augmentation(*arguments)

    def __hash__(self):
        return hash(repr(self.augmentation))

    def __eq__(self, other):
        return self.augmentation == other.augmentation


def test_without_flip_jitter_and_blur_it_is_normalisation_alone(images, labels):
    out, same = apply(weakly(), images, labels)
    np.testing.assert_allclose(out, (images / 255.0 - MEAN) / STD, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(same, labels)
    assert out.dtype == jnp.float32 and same.dtype == jnp.uint8


def test_flip_turns_image_and_label_together_and_as_often_as_asked(images, labels):
    out, turned = apply(weakly(flip=1.0), images, labels)
    np.testing.assert_allclose(out, (images[:, :, ::-1] / 255.0 - MEAN) / STD, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(turned, labels[:, :, ::-1])
    many = np.broadcast_to(np.array([[[0, 1]]], np.uint8), (1000, 1, 2))
    image = np.broadcast_to(many[..., None], (1000, 1, 2, 3))
    out, flipped = apply(weakly(flip=0.3, **UNIT), image, many)
    share = np.asarray(flipped[:, 0, 0] == 1)
    assert 0.25 < share.mean() < 0.35
    np.testing.assert_array_equal(np.asarray(out[:, 0, 0, 0] > 0), share)


def test_draws_of_a_sample_depend_on_seed_epoch_and_position_alone(images, labels):
    full = weakly(flip=0.5, jitter=0.1, blur=0.5)
    out, turned = apply(full, images, labels)
    order = np.array([5, 0, 7])
    alone, alone_labels = apply(full, images[order], labels[order], samples(8)[order])
    np.testing.assert_allclose(alone, out[order], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(alone_labels, turned[order])
    same_image = np.broadcast_to(images[:1], images.shape)
    out, _ = apply(full, same_image, labels)
    assert (
        len({np.asarray(image).tobytes() for image in out} | {np.asarray(image[:, ::-1]).tobytes() for image in out})
        == 16
    )
    for other in (apply(full, images, labels, samples(8, epoch=3)), apply(full, images, labels, key=jax.random.key(4))):
        assert not np.allclose(other[0], apply(full, images, labels)[0])


def test_draws_are_the_same_over_devices(images, labels):
    full = weakly(flip=0.5, jitter=0.1, blur=0.5)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:8]), ("data",))
    layout = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    sharded = [jax.device_put(array, layout) for array in (images, labels, samples(8))]
    out, turned = apply(full, *sharded)
    assert len(out.sharding.device_set) == 8
    expected, expected_labels = apply(full, images, labels)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(turned, expected_labels)


def test_jitter_stays_in_its_range_and_keeps_greys_grey():
    grey = np.full((64, 4, 4, 3), 128, np.uint8)
    out, _ = apply(weakly(jitter=0.1, **UNIT), grey, np.zeros((64, 4, 4), np.uint8))
    out = np.asarray(out)
    np.testing.assert_allclose(out.std(-1), 0, atol=2e-3)  # saturation and hue do nothing to grey
    brightness = out[:, 0, 0, 0] / (128 / 255)  # contrast does nothing to a flat image
    assert 0.9 - 1e-3 <= brightness.min() < 0.93 and 1.07 < brightness.max() <= 1.1 + 1e-3


def test_jitter_changes_colour_and_contrast_a_little(images, labels):
    out, same = apply(weakly(jitter=0.1, **UNIT), images, labels)
    difference = np.abs(np.asarray(out) - images / 255.0)
    assert 0.005 < difference.mean() < 0.2 and out.min() >= 0 and out.max() <= 1
    np.testing.assert_array_equal(same, labels)


def test_blur_keeps_flat_regions_and_the_mean_and_smooths_edges():
    images = np.zeros((32, 17, 17, 3), np.uint8)
    images[:, 8, 8] = 255
    labels = np.zeros((32, 17, 17), np.uint8)
    always = weakly(blur=1.0, **UNIT)
    out = np.asarray(apply(always, images, labels)[0])
    np.testing.assert_allclose(out.sum((1, 2)), 1, rtol=1e-5)
    np.testing.assert_allclose(out, out[:, ::-1, ::-1], atol=1e-6)
    np.testing.assert_allclose(out, out.transpose(0, 2, 1, 3), atol=1e-6)
    peaks = out[:, 8, 8, 0]
    assert peaks.max() > 0.9 and peaks.min() < 0.2, "widths from 0.15 to 1.3 px are drawn"
    flat = np.full_like(images, 200)
    np.testing.assert_allclose(apply(always, flat, labels)[0], 200 / 255, rtol=1e-5)
    sometimes = np.asarray(apply(weakly(blur=0.5, **UNIT), images, labels)[0])
    sharp = sometimes[:, 8, 8, 0] == 1
    assert 4 < sharp.sum() < 28
    np.testing.assert_array_equal(sometimes[~sharp], out[~sharp])


STRONGLY = Augmentation(
    0.5, {WEAK: Photometry(0.0, 0.0), STRONG: Photometry(0.5, 0.0, 0.8, 0.2)}, Preprocessing((0.0,) * 3, (1.0,) * 3)
)


def test_views_of_a_crop_share_its_flip_and_differ_in_colour():
    unlabelled = MeanTeacher.streams[1]
    images = np.random.default_rng(0).integers(0, 256, (400, 2, 6, 3)).astype(np.uint8)
    padding = np.zeros((400, 2, 6), np.uint8)
    padding[:, :, 0] = 255
    crops = STRONGLY(unlabelled, {"image": images, "padding": padding, "sample": samples(400)}, KEY)
    weak, strong = (np.asarray(crops.images[view]) for view in (WEAK, STRONG))
    flipped = ~np.asarray(crops.valid)[:, 0, -1]
    assert 0.4 < flipped.mean() < 0.6
    straight = np.where(flipped[:, None, None, None], images[:, :, ::-1], images) / 255.0
    np.testing.assert_allclose(weak, straight, atol=1e-6)
    grey = np.ptp(strong, -1).max((1, 2)) < 1e-5
    same = np.abs(strong - weak).max((1, 2, 3)) < 1e-6
    assert 0.14 < grey.mean() < 0.26 and 0.1 < same.mean() < 0.24, "grey 0.2, and no jitter and no grey 0.2 * 0.8"
    assert strong.min() >= 0 and strong.max() <= 1
    again = STRONGLY(unlabelled, {"image": images, "padding": padding, "sample": samples(400)}, KEY)
    np.testing.assert_array_equal(again.images[STRONG], strong)
