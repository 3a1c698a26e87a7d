"""Every kind of bad raw file and what the user is told about it."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from csst_jax.types import CsstError
from data_prep import problems as problems_module
from data_prep import raw
from data_prep.label_map import LabelMap
from data_prep.problems import Problems


@pytest.fixture
def pair(tmp_path):
    """A good 8x6 pair with classes 0..2; tests spoil one of its files."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(rng.integers(0, 3, (6, 8)).astype(np.uint8)).save(tmp_path / "a_mask.png")
    return raw.RawPair("a", tmp_path / "a.png", tmp_path / "a_mask.png")


def read(*pairs, labels=None):
    return [raw.read_pair(pair, labels or LabelMap.identity(3)) for pair in pairs]


def message(*pairs, **settings):
    with pytest.raises(raw.Bad) as error:
        read(*pairs, **settings)
    return str(error.value)


def test_an_image_that_would_fill_the_memory_is_refused_by_its_header(pair):
    data = bytearray(pair.image.read_bytes())
    data[16:24] = struct.pack(">II", 40_000, 40_000)  # in IHDR, which ends with its checksum
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    pair.image.write_bytes(data)
    assert f"{pair.image}: the image is too large: 178,956,970 pixels are the most" in message(pair)


def test_a_good_pair_keeps_its_bytes_and_maps_void(pair):
    mask = np.asarray(Image.open(pair.mask)).copy()
    mask[0, 0] = 11
    Image.fromarray(mask).save(pair.mask)
    (example,) = read(pair, labels=LabelMap.identity(3, void=(11,)))
    assert (example.id, example.labelled) == ("a", True)
    assert example.image_bytes == pair.image.read_bytes()
    expected = mask.copy()
    expected[0, 0] = 255
    assert example.label.dtype == np.uint8
    np.testing.assert_array_equal(example.label, expected)


def test_an_unlabelled_image_is_all_void(pair):
    (example,) = read(raw.RawPair("a", pair.image, None))
    assert not example.labelled
    np.testing.assert_array_equal(example.label, np.full((6, 8), 255, np.uint8))


def test_a_palette_mask_gives_its_indices(pair):
    mask = np.asarray(Image.open(pair.mask))
    palette_mask = Image.fromarray(mask)
    palette_mask.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200])
    assert palette_mask.mode == "P"
    palette_mask.save(pair.mask)
    np.testing.assert_array_equal(read(pair)[0].label, mask)


def test_colours_of_rgb_and_palette_masks(pair):
    labels = LabelMap({}, {(1, 2, 3): 0, (3, 2, 1): 1, (0, 0, 0): 255})
    colours = np.zeros((6, 8, 3), np.uint8)
    colours[1], colours[2] = (1, 2, 3), (3, 2, 1)
    expected = np.full((6, 8), 255, np.uint8)
    expected[1], expected[2] = 0, 1
    for mask in (Image.fromarray(colours), Image.fromarray(colours).quantize(3)):
        mask.save(pair.mask)
        np.testing.assert_array_equal(read(pair, labels=labels)[0].label, expected)
    colours[3, :2] = (9, 9, 9)
    Image.fromarray(colours).save(pair.mask)
    text = message(pair, labels=labels)
    assert "label colour (9, 9, 9) (2 pixels) stands for none of the 2 classes (colours (1, 2, 3), (3, 2, 1))" in text
    colours[3, 1] = (9, 9, 8)
    Image.fromarray(colours).save(pair.mask)
    text = message(pair, labels=labels)
    assert "(9, 9, 8) (1 pixel), (9, 9, 9) (1 pixel) stands" in text and "smoothing" not in text
    Image.new("L", (8, 6)).save(pair.mask)
    assert "1 channels (mode L); it must be an RGB or palette PNG" in message(pair, labels=labels)


def test_a_mask_in_colours_that_was_resized_with_smoothing_is_told(pair):
    colours = np.zeros((60, 80, 3), np.uint8)
    colours[20:, 30:] = (200, 100, 50)
    small = Image.fromarray(colours).resize((8, 6), Image.Resampling.BICUBIC)
    small.save(pair.mask)
    text = message(pair, labels=LabelMap({}, {(0, 0, 0): 0, (200, 100, 50): 1}))
    assert "was resized or saved with smoothing, or as JPEG" in text and "nearest neighbour" in text


def test_damaged_matlab_mask(pair, tmp_path):
    (tmp_path / "a.mat").write_bytes(b"not MATLAB")
    assert "a.mat: no readable mask GTcls.Segmentation" in message(raw.RawPair("a", pair.image, tmp_path / "a.mat"))


def test_a_16_bit_mask_is_fine_if_its_values_are(pair):
    Image.fromarray(np.full((6, 8), 2, np.uint16)).save(pair.mask)
    assert read(pair)[0].label.dtype == np.uint8
    Image.fromarray(np.full((6, 8), 700, np.uint16)).save(pair.mask)
    assert "label value 700 (48 pixels)" in message(pair)


def test_mask_of_another_size(pair):
    Image.fromarray(np.zeros((5, 4), np.uint8)).save(pair.mask)
    text = message(pair)
    assert f"{pair.mask}: the mask is 4x5 but its image {pair.image} is 8x6" in text and "resize" in text


def test_value_outside_the_classes_names_file_value_and_count(pair):
    mask = np.zeros((6, 8), np.uint8)
    mask[0, :5], mask[1, :2] = 7, 9
    Image.fromarray(mask).save(pair.mask)
    text = message(pair, labels=LabelMap.identity(3, void=(11,)))
    wanted = "value 7 (5 pixels), 9 (2 pixels) stands for none of the 3 classes (values 0..2) nor for void (11, 255)"
    assert f"{pair.mask}: label {wanted}" in text


@pytest.mark.parametrize("which", ["image", "mask"])
@pytest.mark.parametrize("keep", [0, 20, 60])
def test_truncated_png(pair, which, keep):
    path = getattr(pair, which)
    path.write_bytes(path.read_bytes()[:keep])
    assert f"{path}: unreadable or truncated {which} ({keep} bytes" in message(pair)


def test_truncated_jpeg(pair):
    stream = io.BytesIO()
    Image.open(pair.image).resize((80, 60)).save(stream, format="JPEG")
    pair.image.write_bytes(stream.getvalue()[:-40])
    assert f"{pair.image}: unreadable or truncated image" in message(pair)


def test_rgb_mask(pair):
    Image.new("RGB", (8, 6)).save(pair.mask)
    text = message(pair)
    assert f"{pair.mask}: the mask has 3 channels (mode RGB)" in text and "single-channel index mask" in text


def test_jpeg_mask_is_refused_because_it_is_lossy(pair):
    Image.new("L", (8, 6)).save(pair.mask, format="JPEG")
    assert f"{pair.mask}: the mask is a JPEG by its content. JPEG changes" in message(pair)


def test_image_of_another_colour_mode(pair, tmp_path):
    Image.new("CMYK", (8, 6)).save(tmp_path / "cmyk.jpg")
    assert "colour mode CMYK. Convert it" in message(raw.RawPair("b", tmp_path / "cmyk.jpg", None))


def test_check_pairs_reports_everything_at_once(pair, tmp_path):
    problems = Problems()
    pairs = [
        pair,
        raw.RawPair("a", tmp_path / "sub" / "a.png", pair.mask),
        raw.RawPair("b", pair.image, tmp_path / "b_mask.png"),
        raw.RawPair("c", tmp_path / "c.png", pair.mask),
    ]
    assert [p.id for p in raw.complete_pairs("train", pairs[::-1], Problems())] == ["a", "b", "c"]
    raw.complete_pairs("train", pairs, problems)
    raw.complete_pairs("val", [], problems)
    with pytest.raises(CsstError) as error:
        problems.raise_if_any()
    for part in (
        "4 problems:",
        f"duplicate id 'a' in split 'train': {pair.image} and {tmp_path / 'sub' / 'a.png'}",
        f"{tmp_path / 'b_mask.png'}: missing mask of image {pair.image}",
        f"{tmp_path / 'c.png'}: missing image",
        "split 'val' is empty",
    ):
        assert part in str(error.value)


def test_fingerprint_changes_with_files_and_settings(pair):
    before = raw.source_sha256([("train", [pair])], 11)
    assert before == raw.source_sha256([("train", [pair])], 11)
    assert before != raw.source_sha256([("train", [pair])], 12)
    assert before != raw.source_sha256([("val", [pair])], 11)
    pair.mask.write_bytes(pair.mask.read_bytes() + b"x")
    assert before != raw.source_sha256([("train", [pair])], 11)


def test_unreadable_list_file(tmp_path):
    problems = Problems()
    (tmp_path / "train.txt").write_bytes(b"\xfftrain")
    problems_module.read_list(tmp_path / "train.txt", problems)
    problems_module.read_list(tmp_path / "val.txt", problems)
    with pytest.raises(CsstError, match=r"(?s)train\.txt: unreadable text.*val\.txt: cannot be read"):
        problems.raise_if_any()


@pytest.mark.parametrize(
    "name,said",
    [
        ("Screenshot 9.41\u202fAM", None),  # macOS
        ("\u5199\u771f\u30001", None),
        ("\u0645\u06cc\u200c\u0631\u0648\u0645 \U0001f469\u200d\U0001f33e", None),  # joiners
        ("a\\b", None),
        ("line\nbreak", "has a line break or the like in it"),
        ("line\u2028break", "has a line break or the like in it"),
        ("tab\t", "has a line break or the like in it"),
        ("\\p0", "is a path that leads out of its directory"),
        ("a\\..\\p0", "is a path that leads out of its directory"),
    ],
)
def test_names_that_are_refused_and_names_that_are_not(pair, name, said):
    pairs = [raw.RawPair(name, pair.image, None)]
    found = raw.complete_pairs("train", pairs, problems := Problems())
    if said is None:
        problems.raise_if_any()
        assert found == pairs
    else:
        with pytest.raises(CsstError, match=f"the file's name {said}.*Rename it"):
            problems.raise_if_any()
