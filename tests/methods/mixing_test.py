"""CutMix and cutout: what a box holds, how large it is, and that a crop's own key alone decides it."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.methods.base import Crops
from csst_jax.methods.mixing import Boxes, ThreeBoxes, classmix, cutmix, cutout, mix_boxes, require_probability
from csst_jax.streams import STRONG, WEAK
from csst_jax.types import CsstError

SIDE = 40
draw_three = jax.jit(lambda key: ThreeBoxes().draw(key, SIDE, SIDE, 1.0))


def crops_of(count=6, seed=0):
    """Crop k has the value k in both views and in its labels, but for a void row."""
    number = np.arange(count, dtype=np.float32)[:, None, None, None]
    images = jnp.asarray(np.broadcast_to(number, (count, SIDE, SIDE, 3)) + 1)
    labels = np.broadcast_to(number[..., 0], (count, SIDE, SIDE)).astype(np.uint8)
    labels[:, 3] = 255
    return Crops(
        {WEAK: images, STRONG: 10 * images}, jnp.asarray(labels), jax.random.split(jax.random.key(seed), count)
    )


def test_a_box_of_the_next_crop_is_pasted_into_views_labels_and_void_alike():
    crops = crops_of()
    mixed = cutmix(crops, 1.0)
    for k in range(6):
        inside = np.asarray(mixed.images[WEAK][k, :, :, 0]) == (k + 1) % 6 + 1
        assert 0 < inside.mean() < 0.5
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        box = np.zeros((SIDE, SIDE), bool)
        box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        assert np.array_equal(box, inside), "one rectangle"
        np.testing.assert_array_equal(mixed.images[STRONG][k, ..., 0], np.where(inside, (k + 1) % 6 + 1, k + 1) * 10)
        np.testing.assert_array_equal(mixed.labels[k], np.where(inside, crops.labels[(k + 1) % 6], crops.labels[k]))


def with_soft_labels(crops, value):
    """Crop k has `value` + k in all of its soft labels."""
    count, height, width = crops.labels.shape
    number = np.arange(count, dtype=np.uint8)[:, None, None, None] + np.uint8(value)
    return dataclasses.replace(crops, soft=jnp.asarray(np.broadcast_to(number, (count, height, width, 2))))


def test_soft_labels_are_pasted_with_the_pixels():
    mixed = cutmix(with_soft_labels(crops_of(), 10), 1.0)
    np.testing.assert_array_equal(mixed.soft, np.asarray(mixed.images[WEAK][..., :2]) + 9)


def test_pasted_classes_have_no_soft_labels():
    """Where they are 0, the real label alone is learned."""
    onto = with_soft_labels(labelled(6, 2), 10)
    mixed = classmix(labelled(6, 1), onto, 1.0)
    pasted = np.asarray(mixed.images[STRONG][..., :2]) < 200
    assert 0.1 < pasted.mean() < 0.9
    np.testing.assert_array_equal(mixed.soft, np.where(pasted, 0, onto.soft))


def test_cutout_empties_a_box_and_makes_it_void():
    crops = crops_of()
    cut = cutout(crops, 1.0)
    for k in range(6):
        inside = np.asarray(cut.images[WEAK][k, :, :, 0]) == 0
        assert 0 < inside.mean() < 0.5
        np.testing.assert_array_equal(cut.labels[k], np.where(inside, 255, crops.labels[k]))
        np.testing.assert_array_equal(cut.images[STRONG][k, ..., 1] == 0, inside)


@pytest.mark.parametrize("change", [cutmix, cutout])
def test_a_crop_gets_its_box_wherever_it_stands_in_a_batch(change):
    crops = crops_of()
    order = np.array([4, 1, 0, 5, 3, 2])
    moved = jax.tree.map(lambda x: x[order], {"images": crops.images, "keys": crops.keys})
    moved = dataclasses.replace(crops, images=moved["images"], keys=moved["keys"], labels=crops.labels[order])
    own, other = (np.asarray(change(x, 0.5).images[WEAK][..., 0] != x.images[WEAK][..., 0]) for x in (crops, moved))
    np.testing.assert_array_equal(own[order], other)
    assert own.any((1, 2)).sum() not in (0, 6), "half of them, more or less"


def test_boxes_have_draws_of_their_own():
    """Other ones than each other, and than the augmentation, which folds 0 to 2 into the same keys."""
    crops = crops_of()
    drawn = [mix_boxes(crops, 1.0), mix_boxes(crops, 1.0, second=True), cutout(crops, 1.0).images[WEAK][..., 0] == 0]
    for number in range(3):
        keys = [jax.random.fold_in(key, number) for key in crops.keys]
        drawn.append(jnp.stack([Boxes().draw(key, SIDE, SIDE, 1.0) for key in keys]))
    for one, other in itertools.combinations(map(np.asarray, drawn), 2):
        assert (one != other).any((1, 2)).all()


def test_probability_and_area_are_as_asked_for():
    keys = jax.random.split(jax.random.key(1), 4000)
    inside = np.asarray(jax.vmap(lambda k: Boxes().draw(k, SIDE, SIDE, 0.5))(keys)).mean((1, 2))
    assert np.mean(inside > 0) == pytest.approx(0.5, abs=0.03)
    shares = inside[inside > 0]
    assert shares.max() <= 0.46 and shares.mean() == pytest.approx(0.21, abs=0.02), "0.02 to 0.4, to whole pixels"


def test_three_boxes_turn_what_is_inside():
    """A pixel of two of them is not pasted."""
    keys, turned = jax.random.split(jax.random.key(0), 20), 0
    for key in keys:
        u, inside, boxes = np.asarray(jax.random.uniform(key, (13,))), np.asarray(draw_three(key)), []
        for share, shape, down, across in u[:12].reshape(3, 4):
            area = 0.25 + 0.25 * share
            tall, wide = (round(float(area**power) * SIDE / 3**0.5) for power in (shape, 1 - shape))
            top, left = round(float(down) * (SIDE - tall)), round(float(across) * (SIDE - wide))
            boxes.append(np.zeros((SIDE, SIDE), bool))
            boxes[-1][top : top + tall, left : left + wide] = True
        np.testing.assert_array_equal(inside, boxes[0] ^ boxes[1] ^ boxes[2])
        turned += (boxes[0] & boxes[1] & ~boxes[2]).any()
    assert turned


def labelled(count, seed):
    """Crops of noise, whose pixels say of which crop they are; classes 0 to 4, and void."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, (count, SIDE // 8, SIDE // 8)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    labels[:, :4] = 255
    images = np.broadcast_to(100.0 * seed + np.arange(count)[:, None, None, None], (count, SIDE, SIDE, 3))
    images = jnp.asarray(images, jnp.float32)
    return Crops({STRONG: images}, jnp.asarray(labels), jax.random.split(jax.random.key(seed), count))


@pytest.mark.parametrize("given", [6, 4, 3])
def test_half_of_the_classes_are_pasted_whole_and_void_is_not(given):
    crops, onto = labelled(given, 1), labelled(6, 2)
    mixed = classmix(crops, onto, 1.0)
    for k in range(6):
        theirs = np.asarray(crops.labels[k % given])
        pasted = np.asarray(mixed.images[STRONG][k, ..., 0]) == 100 + k % given
        np.testing.assert_array_equal(mixed.labels[k], np.where(pasted, theirs, onto.labels[k]))
        classes = set(theirs[pasted].tolist())
        np.testing.assert_array_equal(pasted, np.isin(theirs, list(classes)), "all pixels of a class")
        assert 255 not in classes and len(classes) == -(-len(set(theirs.ravel().tolist()) - {255}) // 2)
    seen = [set(np.asarray(mixed.labels[k])[np.asarray(mixed.images[STRONG][k, ..., 0]) < 200]) for k in range(6)]
    assert len({tuple(sorted(classes)) for classes in seen}) > 1, "other classes in other crops"


@pytest.mark.slow
def test_some_crops_get_no_classes():
    changed = np.asarray(classmix(labelled(40, 1), labelled(40, 2), 0.5).images[STRONG][..., 0] < 200).any((1, 2))
    assert 8 < changed.sum() < 32


def test_nothing_happens_without_a_probability():
    crops = crops_of()
    assert classmix(crops, crops, 0.0) is crops
    assert cutmix(crops, 0.0) is crops and cutout(crops, 0.0) is crops


def test_a_probability_above_one_is_refused():
    with pytest.raises(CsstError, match=r"cutmix is 1\.5"):
        require_probability("cutmix", 1.5)
