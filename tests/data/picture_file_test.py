"""Photos and masks of every kind that is read, and what is stored of them."""

import warnings

import numpy as np
import pytest
from PIL import Image

from csst_jax.data import picture_file
from csst_jax.data.stored import encoded
from data_prep import raw, stored
from data_prep.label_map import LabelMap
from tests.data_prep.breaking import file, mask, photo


def read(where, data, name="a.png"):
    (where / name).write_bytes(data)
    return picture_file.read_image(where / name)


@pytest.mark.parametrize("format,exact", [("PNG", True), ("JPEG", False)])
def test_png_and_jpeg_stay_as_they_are(tmp_path, format, exact):
    data = file(photo(), format)
    image = read(tmp_path, data)
    assert image.data == data and not image.turned
    np.testing.assert_allclose(encoded.decode_rgb(image.data), photo(), atol=0 if exact else 255)


@pytest.mark.parametrize(
    "format,options", [("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("BMP", {}), ("WEBP", {"lossless": True})]
)
def test_other_formats_become_png_without_loss(tmp_path, format, options):
    image = read(tmp_path, file(photo(), format, **options), "A.TIF")
    assert image.data[:4] == b"\x89PNG"
    np.testing.assert_array_equal(encoded.decode_rgb(image.data), photo())


def test_phones_write_several_pictures_into_one_jpeg(tmp_path):
    data = file(photo(), "MPO", save_all=True, append_images=[Image.fromarray(photo(1))])
    image = read(tmp_path, data, "a.jpg")
    assert image.data == data and encoded.decode_rgb(image.data).shape == (12, 16, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_turned_photos_are_stored_upright(tmp_path, orientation, format):
    """The pixels of each orientation, by EXIF's own words: where the first row and the first column are."""
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16], upright[:8, 16:], upright[8:, :16] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    turns = {1: 0, 3: 2, 6: 1, 8: 3}  # quarters counterclockwise that make the file out of what is upright
    mirrors = {2: 1, 4: 3, 5: 8, 7: 6}
    if orientation in turns:
        pixels = np.rot90(upright, turns[orientation])
    elif orientation in (2, 4):
        pixels = upright[:, ::-1] if orientation == 2 else upright[::-1]
    else:
        pixels = upright.transpose(1, 0, 2) if orientation == 5 else np.rot90(upright, 2).transpose(1, 0, 2)
    assert orientation in turns or orientation in mirrors
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {"lossless": True} if format == "WEBP" else {}
    image = read(tmp_path, file(np.ascontiguousarray(pixels), format, exif=orientation, **options), "a.x")
    shown = encoded.decode_rgb(image.data)
    assert shown.shape == upright.shape
    assert np.abs(shown.astype(int) - upright).max() < 30
    assert picture_file.read_image(tmp_path / "a.x").picture.size == (32, 16)
    assert picture_file.upright_size(tmp_path / "a.x") == (16, 32)
    assert image.turned == (orientation > 1)
    (tmp_path / "again.png").write_bytes(image.data)
    assert not picture_file.read_image(tmp_path / "again.png").turned or orientation == 1


def test_an_orientation_that_means_nothing_counts_as_upright(tmp_path):
    data = file(photo(), "JPEG", exif=9)
    assert read(tmp_path, data).data == data


@pytest.mark.parametrize("header", [b"XX\0*\0\0\0\x08", b"MM\0*\xff\xff\xff\xff", b"\xff" * 8])
def test_damaged_exif_counts_as_none_as_in_other_programs(tmp_path, header):
    data = file(photo(), "JPEG", exif=6).replace(b"MM\0*\0\0\0\x08", header)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(tmp_path, data).data == data


def test_a_turned_photo_and_its_upright_mask_make_a_pair(tmp_path):
    (tmp_path / "a.jpg").write_bytes(file(photo(size=(16, 12)), "JPEG", exif=6))
    (tmp_path / "a.png").write_bytes(file(mask()))
    example = raw.read_pair(raw.RawPair("a", tmp_path / "a.jpg", tmp_path / "a.png"), LabelMap.identity(3))
    assert example.turned and example.label.shape == (12, 16)
    assert stored.store_form(example, 3, "tiles").turned


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_masks_of_few_bits_hold_what_was_written(tmp_path, bits):
    values = np.arange(12 * 16).reshape(12, 16) % 2**bits
    rows = np.packbits(
        np.unpackbits(values[..., None].astype(np.uint8), axis=-1)[..., 8 - bits :].reshape(12, -1), axis=1
    )
    import struct
    import zlib

    parts = (
        b"IHDR" + struct.pack(">IIBBBBB", 16, 12, bits, 0, 0, 0, 0),
        b"IDAT" + zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)),
        b"IEND",
    )
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    found = np.asarray(picture_file.read_mask(tmp_path / "a.png")).astype(int)
    np.testing.assert_array_equal(found, values)


def test_large_pictures_are_read_without_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)  # of 192
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(tmp_path, file(photo())).picture.size == (16, 12)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 90)
    with pytest.raises(picture_file.Bad, match="a.png: the image is too large: .* Cut it into parts"):
        read(tmp_path, file(photo()))


def test_photos_are_no_masks():
    labels = LabelMap.identity(3)
    for picture in (photo(), np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 2, np.uint8), photo()[..., 0]):
        assert not labels.is_mask(Image.fromarray(picture))
    colours = LabelMap({}, {(1, 2, 3): 0, (9, 9, 9): 1})
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[:2], picture[2:] = (1, 2, 3), (9, 9, 9)
    assert colours.is_mask(Image.fromarray(picture)) and not labels.is_mask(Image.fromarray(picture))
    picture[0, 0] = (9, 9, 8)
    assert not colours.is_mask(Image.fromarray(picture))
