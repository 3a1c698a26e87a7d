"""What crops show: counted in masks as the crops themselves would be."""

import cv2
import numpy as np
import pytest

from csst_jax.data import crop
from csst_jax.data.shares import shares
from csst_jax.data.stored.encoded import encode_label
from csst_jax.samplers.plan import PLAN_DTYPE
from csst_jax.types import IGNORE_LABEL


class Fixed:
    """The same rows in every epoch."""

    def __init__(self, *rows):
        self.rows = np.array(list(rows), PLAN_DTYPE)

    def plan(self, epoch, seed, num_samples):
        return np.resize(self.rows, num_samples)


def test_a_crop_around_a_point_counts_what_lies_there():
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 10:20], mask[:, 30:] = 1, IGNORE_LABEL
    found = shares(Fixed((0, 7, 14.5, 14.5, 1)), {(0, 7): mask}, 3, crop_px=20, scale_range=(1.0, 1.0), num_crops=2)
    assert found.pixels.tolist() == [0.75, 0.25, 0.0] and found.crops.tolist() == [1.0, 1.0, 0.0]


def test_void_and_padding_do_not_count_and_a_crop_weighs_by_its_own_pixels():
    masks = {(0, 0): np.zeros((10, 10), np.uint8), (0, 1): np.ones((40, 40), np.uint8)}
    small, large = (0, 0, 5.0, 5.0, 0), (0, 1, 20.0, 20.0, 1)
    found = shares(Fixed(small, large), masks, 2, crop_px=20, scale_range=(1.0, 1.0), num_crops=2)
    assert found.pixels.tolist() == [0.2, 0.8], "100 of 400 pixels of the first crop are image"
    assert found.crops.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("klass", [-1, 1])
def test_shares_are_those_of_crops_that_are_cut(klass):
    rng = np.random.default_rng(0)
    mask = np.kron(rng.integers(0, 3, (9, 12)), np.ones((10, 10), int)).astype(np.uint8)
    rows = [(0, 0, y, x, klass) for y, x in rng.uniform((0, 0), (89, 119), (40, 2))]
    found = shares(Fixed(*rows), {(0, 0): mask}, 3, crop_px=48, scale_range=(0.5, 2.0), num_crops=40, seed=3)
    scales = np.random.default_rng(3).uniform(0.5, 2.0, 40)
    image = cv2.imencode(".png", np.zeros((90, 120, 3), np.uint8))[1].tobytes()
    counts = np.zeros(3)
    for (_, _, y, x, _), scale in zip(rows, scales, strict=True):
        label, picture = np.empty((48, 48), np.uint8), np.empty((48, 48, 3), np.uint8)
        at = np.array([y, x])
        crop.scaled_crop(image, encode_label(mask), at, scale, klass < 0, image_out=picture, label_out=label)
        counts += np.bincount(label.ravel(), minlength=IGNORE_LABEL + 1)[:3]
    np.testing.assert_allclose(found.pixels, counts / counts.sum(), atol=0.01)
