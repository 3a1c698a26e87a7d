"""Masks that can be read by their values or by their colours."""

import numpy as np
import pytest
from PIL import Image

from data_prep import classes, mask_file, palette, raw
from data_prep.problems import Problems

ROAD, CAR, SKY = (128, 64, 128), (0, 0, 142), (70, 130, 180)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.png"


@pytest.fixture
def labels(tmp_path):
    """Of a file of classes with the given text."""

    def read(text):
        (tmp_path / "classes.yaml").write_text(text)
        return classes.read(str(tmp_path / "classes.yaml"), "mine")[1]

    return read


@pytest.fixture
def three(labels):
    """Three classes with colours alone."""
    return labels(f"[{{name: road, color: {[*ROAD]}}}, {{name: car, color: {[*CAR]}}}, {{name: sky, color: {[*SKY]}}}]")


def with_palette(values, *colours):
    picture = Image.fromarray(np.array(values, np.uint8))
    picture.putpalette([channel for colour in colours for channel in colour])
    return picture


def test_a_palette_of_the_classes_colours_in_another_order_is_not_read_by_number(path, three):
    """As Pillow's quantize leaves it."""
    with_palette([[0, 1], [1, 1]], SKY, ROAD).save(path)
    with pytest.raises(raw.Bad) as error:
        mask_file.read_label(path, three)
    text = str(error.value)
    assert f"{path}: the mask can be read in two ways" in text
    assert f"x=0, y=0 is class 2 by its colour {SKY}, and class 0 by its value 0" in text
    assert "save the masks as RGB" in text and "give each class `values: […]`" in text
    with_palette([[0, 7], [7, 7]], SKY, *[(1, 1, 1)] * 6, ROAD).save(path)
    np.testing.assert_array_equal(mask_file.read_label(path, three), [[2, 0], [0, 0]], "7 can be a colour alone")


def test_a_palette_in_the_classes_order_or_of_other_colours_counts_by_number(path, three):
    for colours in ((ROAD, CAR, SKY), ((0, 0, 0), (128, 0, 0), (0, 128, 0)), (ROAD, (1, 2, 3), CAR)):
        with_palette([[0, 1, 2]], *colours).save(path)
        np.testing.assert_array_equal(mask_file.read_label(path, three), [[0, 1, 2]])


def test_values_of_the_file_count_whatever_the_palette(path, labels):
    both = labels("[{name: a, color: [0, 0, 0], values: [1]}, {name: b, color: [255, 255, 255], values: [0]}]")
    with_palette([[0, 1]], (0, 0, 0), (255, 255, 255)).save(path)
    np.testing.assert_array_equal(mask_file.read_label(path, both), [[1, 0]])


def test_grey_levels_and_bits_are_colours_too(path, labels):
    black_first = labels("[{name: a, color: [0, 0, 0]}, {name: b, color: [128, 128, 128]}]")
    Image.fromarray(np.array([[0, 128]], np.uint8)).save(path)
    np.testing.assert_array_equal(mask_file.read_label(path, black_first), [[0, 1]])
    white_first = labels("[{name: a, color: [255, 255, 255]}, {name: b, color: [0, 0, 0]}]")
    bits = Image.fromarray(np.array([[False, True]]))
    bits.save(path)
    with pytest.raises(raw.Bad, match=r"class 1 by its colour \(0, 0, 0\), and class 0 by its value 0"):
        mask_file.read_label(path, white_first)
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(path)
    with pytest.raises(raw.Bad, match="in two ways"):  # 255 is void by its value
        mask_file.read_label(path, white_first)


def test_what_is_wrong_is_told_of_the_reading_that_fits_better(path, three):
    with_palette([[0, 9, 9, 8]], SKY, *[(1, 1, 1)] * 8, ROAD).save(path)
    with pytest.raises(raw.Bad, match=r"label colour \(1, 1, 1\) \(1 pixel\)"):
        mask_file.read_label(path, three)
    with_palette([[0, 1, 9]], *[(1, 1, 1)] * 10).save(path)
    with pytest.raises(raw.Bad, match=r"label value 9 \(1 pixel\)"):
        mask_file.read_label(path, three)


def test_palettes_of_the_classes_colours_are_not_compared_by_number(tmp_path, three, labels):
    pairs = []
    for name, colours in (("a", (SKY, ROAD)), ("b", (ROAD, SKY))):
        with_palette([[0, 1]], *colours).save(tmp_path / f"{name}.png")
        pairs.append(raw.RawPair(name, tmp_path / f"{name}.png", tmp_path / f"{name}.png"))
    palette.compare_palettes(pairs, three, problems := Problems())
    problems.raise_if_any()
    palette.compare_palettes(pairs, labels("[road, sky]"), problems)
    with pytest.raises(Exception, match="has an editor renumbered the classes"):
        problems.raise_if_any()


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "P"])
def test_transparent_pixels_are_refused(path, three, mode):
    """Their hidden colour would count."""
    colours = np.array([[SKY, ROAD, CAR]], np.uint8)
    opaque = np.dstack([colours, np.full((1, 3), 255, np.uint8)])
    Image.fromarray(opaque).save(path)
    np.testing.assert_array_equal(mask_file.read_label(path, three), [[2, 0, 1]])
    if mode == "RGBA":
        opaque[0, 1, 3] = 254
        Image.fromarray(opaque).save(path)
    elif mode == "RGB":
        Image.fromarray(colours).save(path, transparency=ROAD)
    else:
        with_palette([[7, 8]], *[(1, 1, 1)] * 7, ROAD, SKY).save(path, transparency=7)
    with pytest.raises(raw.Bad, match="a.png: the mask has 1 transparent pixel, whose.*Flatten the layers"):
        mask_file.read_label(path, three)
    with_palette([[0, 1]], (1, 1, 1), (2, 2, 2)).save(path, transparency=0)
    np.testing.assert_array_equal(mask_file.read_label(path, three), [[0, 1]], "numbers have no colour to hide")
