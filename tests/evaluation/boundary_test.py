"""Boundary IoU against its definition, pixel by pixel."""

import numpy as np
import pytest

from csst_jax.evaluation.boundary import band, band_px, boundary_counts


def band_by_definition(mask, width):
    """Pixels of the mask with something outside of it in the square of `width` around them."""
    framed = np.pad(mask, width)
    height, across = mask.shape
    return np.array(
        [
            [mask[y, x] and not framed[y : y + 2 * width + 1, x : x + 2 * width + 1].all() for x in range(across)]
            for y in range(height)
        ]
    )


def test_width_is_a_share_of_the_diagonal():
    assert band_px((1024, 2048), 0.02) == 46
    assert band_px((10, 10), 0.02) == 1


@pytest.mark.parametrize("width", [1, 3])
def test_band(width):
    mask = np.random.default_rng(0).random((24, 30)) < 0.97
    mask[8:20, 5:25] = True
    expected = band_by_definition(mask, width)
    assert 0 < expected.sum() < mask.sum()
    np.testing.assert_array_equal(band(mask, width), expected)


def test_an_object_that_fills_the_image_has_a_band_along_its_edge():
    assert band(np.ones((7, 9), bool), 2).sum() == 7 * 9 - 3 * 5


def test_counts_of_classes_leave_out_void():
    rng = np.random.default_rng(1)
    label = np.zeros((40, 50), np.uint8)
    label[10:30, 10:30] = 1
    prediction = np.roll(label, 2, axis=1)
    prediction[rng.random(label.shape) < 0.02] = 2
    label[:, 45:] = 255
    ratio = 0.05
    width = band_px(label.shape, ratio)
    assert width == 3
    counts = boundary_counts(label, prediction, 4, ratio)
    for klass in range(4):
        truth = band_by_definition(label == klass, width) & (label != 255)
        guess = band_by_definition(prediction == klass, width) & (label != 255)
        assert counts[:, klass].tolist() == [(truth & guess).sum(), (truth | guess).sum()], klass
    assert counts[0, 0] > 0 and counts[0, 1] > 0 and counts[:, 2].tolist() == [0, counts[1, 2]] and counts[1, 2] > 0
    assert counts[:, 3].tolist() == [0, 0]
    everything = np.full_like(label, 255)
    assert not boundary_counts(everything, prediction, 4, ratio).any()
