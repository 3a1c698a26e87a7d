"""Images in tiles: lossless, any window, and damage is noticed."""

import io
import struct

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from csst_jax.data.stored import encoded, tiles
from csst_jax.data.stored.tiles import Window
from csst_jax.types import CsstError


def photo(height, width, seed=0):
    """Smooth, with noise: neighbours are alike as in a photograph."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([100 + 60 * np.sin(y / 31 + k) + 40 * np.cos(x / 47) for k in range(3)], -1)
    return np.clip(smooth + rng.normal(0, 4, (height, width, 3)), 0, 255).astype(np.uint8)


def label(height, width):
    y, x = np.mgrid[:height, :width]
    return np.where((y // 40 + x // 60) % 5 == 4, 255, (y // 40 + x // 60) % 5).astype(np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (128, 128), (127, 129), (300, 257), (5, 700)])
@pytest.mark.parametrize("make", [photo, label])
def test_lossless(size, make):
    image = make(*size)
    data = tiles.encode(image)
    assert tiles.size(data) == size
    np.testing.assert_array_equal(tiles.decode(data), image)


@hypothesis.given(st.integers(0, 299), st.integers(0, 399), st.integers(1, 300), st.integers(1, 400))
@hypothesis.settings(deadline=None, max_examples=60)
def test_any_window_is_the_part_of_the_whole(top, left, height, width):
    window = Window(top, left, min(height, 300 - top), min(width, 400 - left))
    inside = (slice(top, top + window.height), slice(left, left + window.width))
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    np.testing.assert_array_equal(tiles.decode(NOISE, window), noise[inside])
    np.testing.assert_array_equal(tiles.decode(LABEL, window), label(300, 400)[inside])


NOISE = tiles.encode(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8))
LABEL = tiles.encode(label(300, 400))


def test_window_outside_is_a_programming_error():
    for window in (Window(0, 0, 301, 1), Window(-1, 0, 2, 2), Window(0, 399, 1, 2), Window(0, 0, 0, 4)):
        with pytest.raises(ValueError, match="leaves the image of 300x400"):
            tiles.decode(NOISE, window)


def test_photographs_and_labels_become_small():
    assert len(tiles.encode(photo(512, 512))) < 0.7 * 512 * 512 * 3
    assert len(tiles.encode(label(512, 512))) < 0.02 * 512 * 512


def test_jpeg_tiles_are_near_and_smaller():
    image = photo(300, 400)
    data = tiles.encode(image, jpeg_quality=95)
    assert len(data) < 0.6 * len(tiles.encode(image))
    window = Window(100, 90, 150, 200)
    near = tiles.decode(data, window).astype(int)
    assert np.abs(near - image[100:250, 90:290]).mean() < 4
    np.testing.assert_array_equal(near, tiles.decode(data)[100:250, 90:290])


def test_damage_is_noticed_wherever_it_is():
    """A changed byte is an error, or changes nothing."""
    image = photo(140, 200)
    data = tiles.encode(image)
    rng = np.random.default_rng(0)
    for position in [*range(28), *rng.integers(28, len(data), 150).tolist()]:
        spoiled = bytearray(data)
        spoiled[position] ^= 1 << rng.integers(8)
        try:
            np.testing.assert_array_equal(tiles.decode(bytes(spoiled)), image)
        except CsstError:
            continue
    for length in (0, 3, 10, 30, len(data) - 1):
        with pytest.raises(CsstError, match=r"no image in tiles|cut off"):
            tiles.decode(data[:length])
    with pytest.raises(CsstError, match="cut off or damaged"):
        tiles.decode(data + b"x")


def test_messages_name_what_is_damaged():
    data = bytearray(tiles.encode(photo(300, 300)))
    data[-1] ^= 255
    with pytest.raises(CsstError, match=r"of 3x3 tiles, row by row, one is damaged: .*item 8"):
        tiles.decode(bytes(data))
    np.testing.assert_array_equal(tiles.decode(bytes(data), Window(0, 0, 200, 200)), photo(300, 300)[:200, :200])
    with pytest.raises(CsstError, match="header of an image in tiles is damaged: form 9"):
        tiles.size(bytes(data[:4]) + b"\x09" + bytes(data[5:]))
    jpeg = bytearray(tiles.encode(photo(100, 100), jpeg_quality=95))
    jpeg[28:44] = bytes(16)
    with pytest.raises(CsstError, match="of 1x1 tiles, row by row, one is damaged: item 0 is no such JPEG"):
        tiles.decode(bytes(jpeg))


def test_a_header_with_another_size_is_noticed():
    data = tiles.encode(photo(100, 100))
    larger = data[:12] + struct.pack("<II", 100, 99) + data[20:]
    for reader in (tiles.size, tiles.decode):
        with pytest.raises(CsstError, match="its header damaged"):
            reader(larger)


def saved(image, kind, **settings):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **settings)
    return stream.getvalue()


@pytest.mark.parametrize("window", [None, Window(20, 30, 100, 110)])
def test_every_stored_form_decodes_alike(window):
    image, classes = photo(200, 250), label(200, 250)
    inside = np.s_[20:120, 30:140] if window else np.s_[:]
    for data in (saved(image, "PNG"), tiles.encode(image)):
        assert encoded.size(data) == (200, 250)
        np.testing.assert_array_equal(encoded.decode_rgb(data, window), image[inside])
    for data in (saved(classes, "PNG"), tiles.encode(classes), encoded.encode_label(classes)):
        assert encoded.size(data) == (200, 250)
        np.testing.assert_array_equal(encoded.decode_label(data, window), classes[inside])
    jpeg = saved(image, "JPEG", quality=90)
    assert encoded.size(jpeg) == (200, 250)
    pillow = np.asarray(Image.open(io.BytesIO(jpeg)))[inside].astype(int)
    assert np.abs(encoded.decode_rgb(jpeg, window) - pillow).max() <= 2


def test_grey_palette_and_transparent_pngs_become_rgb():
    image = photo(40, 50)
    grey = Image.fromarray(image).convert("L")
    for picture in (grey, grey.convert("P"), Image.fromarray(image).convert("RGBA")):
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        np.testing.assert_array_equal(encoded.decode_rgb(stream.getvalue()), np.asarray(picture.convert("RGB")))


def test_what_is_no_image_is_said():
    for data in (b"", b"nonsense", saved(photo(40, 50), "PNG")[:60]):
        with pytest.raises(CsstError, match=r"neither PNG nor JPEG nor tiles, or damaged \(\d+ bytes"):
            encoded.decode_rgb(data)
    with pytest.raises(CsstError, match="neither PNG nor JPEG"):
        encoded.size(b"nonsense")
