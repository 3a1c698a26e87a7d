"""The scaled crop: where the window lies, what pads it, and that image and label stay together."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from csst_jax.data.crop import _PADDING_RGB, scaled_crop, windows
from csst_jax.data.stored import tiles
from csst_jax.types import CsstError


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def crop(image, label, centre, scale, crop_px, anywhere=False, encode=tiles.encode):
    out, out_label = np.zeros((crop_px, crop_px, 3), np.uint8), np.zeros((crop_px, crop_px), np.uint8)
    data = encode(image), encode(label)
    scaled_crop(*data, np.array(centre), scale, anywhere, image_out=out, label_out=out_label)
    return out, out_label


def coordinates(height, width):
    """An image whose red and green tell row and column, and a label that says the same."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, 0 * y], -1).astype(np.uint8), (y * 3 + x).astype(np.uint8) % 200


def test_at_scale_one_it_is_the_window_around_the_centre():
    image, label = coordinates(60, 80)
    out, out_label = crop(image, label, (30, 40), 1.0, 16)
    np.testing.assert_array_equal(out, image[22:38, 32:48])
    np.testing.assert_array_equal(out_label, label[22:38, 32:48])
    assert out.dtype == out_label.dtype == np.uint8


@pytest.mark.parametrize(
    "centre,corner", [((0, 0), (0, 0)), ((59, 79), (44, 64)), ((0, 79), (0, 64)), ((3.4, 41), (0, 34))]
)
def test_a_window_that_would_stick_out_is_shifted_inside(centre, corner):
    image, label = coordinates(60, 80)
    out, out_label = crop(image, label, centre, 1.0, 16)
    y, x = corner
    np.testing.assert_array_equal(out, image[y : y + 16, x : x + 16])
    assert (out_label != 255).all()


@pytest.mark.parametrize("scale,window", [(0.5, 32), (2.0, 8), (0.8, 20), (1.27, 13)])
@pytest.mark.parametrize("size", [(61, 83), (64, 48)])
def test_resizes_the_window_alone_as_tensorflow_does(scale, window, size):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    label = rng.integers(0, 5, size).astype(np.uint8)
    out, out_label = crop(image, label, (30, 25), scale, 16)
    y, x = (int(np.clip(np.round(c - (window - 1) / 2), 0, s - window)) for c, s in zip((30, 25), size, strict=True))
    part, part_label = image[y : y + window, x : x + window], label[y : y + window, x : x + window]
    expected = np.round(tf.image.resize(part, (16, 16)).numpy()).astype(np.uint8)
    assert np.abs(out.astype(int) - expected).max() <= 1  # OpenCV's weights have 11 bits
    np.testing.assert_array_equal(
        out_label, tf.image.resize(part_label[..., None], (16, 16), "nearest").numpy()[..., 0]
    )


@pytest.mark.parametrize("scale", [0.5, 0.73, 1.0, 1.9])
def test_label_and_image_stay_aligned(scale):
    """The image is the label's edge, drawn: its colour changes where the label does, to half a pixel of the source."""
    label = np.zeros((70, 90), np.uint8)
    label[31:, 44:] = 1
    image = np.repeat((label * 255)[..., None], 3, -1)
    out, out_label = crop(image, label, (31, 44), scale, 33)
    assert {0, 1} <= set(np.unique(out_label))
    far = np.abs(out[..., 0].astype(int) - 127.5) > 127  # away from the blurred edge
    np.testing.assert_array_equal(out_label[far], out[far][:, 0] // 255)
    assert far.mean() > 0.7


def test_image_smaller_than_the_window_is_padded_evenly_with_void():
    image, label = coordinates(21, 50)
    out, out_label = crop(image, label, (5, 24.5), 1.0, 32)
    inside = out_label != 255
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (5, 25, 0, 31)
    np.testing.assert_array_equal(out[5:26], image[:, 9:41])
    np.testing.assert_array_equal(out_label[5:26], label[:, 9:41])
    assert (out[~inside] == _PADDING_RGB).all() and (~inside).sum() == 11 * 32


def test_image_smaller_than_the_window_in_both_directions_at_half_scale():
    image, label = coordinates(20, 30)
    out, out_label = crop(image, label, (10, 15), 0.5, 32)
    inside = out_label != 255
    assert inside.sum() == 10 * 15
    np.testing.assert_array_equal(np.flatnonzero(inside.any(1)), np.arange(11, 21))
    np.testing.assert_array_equal(np.flatnonzero(inside.any(0)), np.arange(8, 23))
    expected = np.round(tf.image.resize(image, (10, 15)).numpy())
    assert np.abs(out[11:21, 8:23] - expected).max() <= 1


def test_one_pixel_is_not_lost():
    image, label = np.full((1, 1, 3), 7, np.uint8), np.full((1, 1), 2, np.uint8)
    _, out_label = crop(image, label, (0, 0), 0.5, 9)
    assert (out_label == 2).sum() == 1 and (out_label == 255).sum() == 80


def test_uniform_sampling_spreads_windows_evenly_over_the_image():
    image, label = coordinates(60, 80)
    for centre, corner in (((0, 0), (0, 0)), ((59, 79), (44, 64)), ((29.5, 39.5), (22, 32)), ((6, 8), (4, 6))):
        out, _ = crop(image, label, centre, 1.0, 16, anywhere=True)
        np.testing.assert_array_equal(out[0, 0, :2], corner)


def test_every_window_is_inside_whatever_the_draw():
    image, label = coordinates(47, 61)
    fine = 4 * image.astype(np.uint8)  # a quarter of a pixel counts: OpenCV rounds a half up
    rng, errors = np.random.default_rng(0), []
    for _ in range(300):
        scale, centre = rng.uniform(0.75, 2.0), rng.uniform(0, (46, 60))
        out, out_label = crop(fine, label, centre, scale, 33)
        assert out.shape == (33, 33, 3) and (out_label != 255).all()
        window = round(33 / scale)
        middle = out[16, 16, :2] / 4
        nearest = np.clip(centre, (window - 1) / 2, (46 - (window - 1) / 2, 60 - (window - 1) / 2))
        errors.append(middle - nearest)
        assert np.abs(errors[-1]).max() <= 1.01, (scale, centre)
    assert np.abs(np.mean(errors, 0)).max() < 0.1, "windows lie to one side of their centres"


@pytest.mark.parametrize("size,crop_px", [((1024, 2048), 800), ((300, 420), 224), ((100, 130), 400)])
def test_labels_are_the_nearest_pixels_at_every_scale(size, crop_px):
    """Of a label that tells its own column (modulo 251). Of two pixels that are equally near, either may be taken."""
    label = np.broadcast_to((np.arange(size[1]) % 251).astype(np.uint8), size)
    image = np.zeros((*size, 3), np.uint8)
    data = tiles.encode(image), tiles.encode(label)
    out, out_label = np.empty((crop_px, crop_px, 3), np.uint8), np.empty((crop_px, crop_px), np.uint8)
    for scale in np.random.default_rng(0).uniform(0.5, 2.0, 12):
        scaled_crop(*data, np.array(size) / 2, scale, False, image_out=out, label_out=out_label)
        source, there = windows(size, np.array(size) / 2, scale, crop_px, False)
        part = np.ascontiguousarray(label[source.top :, source.left : source.left + source.width][: source.height])
        expected = tf.image.resize(part[..., None], (there.height, there.width), "nearest").numpy()[..., 0]
        found = out_label[there.top : there.top + there.height, there.left : there.left + there.width]
        at = (np.arange(there.width) + 0.5) * source.width / there.width
        tie = np.abs(at - np.round(at)) < 1e-3
        np.testing.assert_array_equal(found[:, ~tie], expected[:, ~tie])
        assert (((found[:, tie].astype(int) - expected[:, tie] + 1) % 251) <= 2).all() and tie.mean() < 0.1


def test_the_stored_form_does_not_matter():
    rng = np.random.default_rng(0)
    image, label = rng.integers(0, 256, (300, 290, 3), np.uint8), rng.integers(0, 19, (300, 290), np.uint8)
    for centre, scale in (((150, 100), 0.7), ((10, 280), 1.6), ((290, 5), 0.5)):
        expected = crop(image, label, centre, scale, 128, encode=png)
        for ours, theirs in zip(crop(image, label, centre, scale, 128), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_image_and_label_of_different_size_are_refused():
    image, label = coordinates(20, 30)
    with pytest.raises(CsstError, match=r"the image is \(20, 30\) and its label \(20, 29\) pixels"):
        crop(image, label[:, 1:], (5, 5), 1.0, 16)
