"""Coloured label maps, the confidence ramp and contact sheets."""

import numpy as np
import pytest
from PIL import Image

from csst_jax.evaluation import pictures
from csst_jax.evaluation.matrix_picture import confusion_picture
from csst_jax.evaluation.pictures import colour, colour_confidence, contact_sheet, difference
from csst_jax.types import CsstError, DatasetDescription

PALETTE = ((200, 10, 10), (10, 200, 10), (10, 10, 200))
DESCRIPTION = DatasetDescription("three", ("red", "green", "blue"), PALETTE)


def test_colour():
    rgb = colour(np.array([[0, 2], [255, 1]]), PALETTE)
    assert rgb.dtype == np.uint8
    assert rgb.tolist() == [[[200, 10, 10], [10, 10, 200]], [[0, 0, 0], [10, 200, 10]]]


def test_difference_shows_errors_and_void():
    rgb = difference(np.array([[0, 1, 255]]), np.array([[0, 2, 1]]))
    assert rgb.tolist() == [[[225, 225, 225], [200, 30, 30], [0, 0, 0]]]


@pytest.mark.parametrize("count", [3, 40])
def test_confusion_picture_has_a_dark_diagonal_for_a_network_that_is_right(count):
    matrix = 7 * np.eye(count, dtype=np.int64)
    matrix[0] = 0  # not in the ground truth
    picture = np.asarray(confusion_picture(matrix, [f"class {i}" for i in range(count)])).astype(int)
    dark = (picture == (23, 64, 120)).all(-1)
    cell = 33 if count == 3 else 16
    assert dark.sum() <= (count - 1) * cell**2
    assert dark.sum() > (count - 1) * cell**2 * 0.7
    rows, columns = np.nonzero(dark)
    assert np.corrcoef(rows, columns)[0, 1] > 0.6


@pytest.mark.parametrize("bad", [3, 254, 300, -1])
def test_colour_of_a_value_outside_the_classes(bad):
    with pytest.raises(CsstError, match=f"1 pixels have labels outside 0..2, for example {bad}"):
        colour(np.array([[0, bad]]), PALETTE)


def test_confidence_ramp_rises_in_lightness():
    rgb = colour_confidence(np.linspace(0, 1, 101)[None])[0].astype(float)
    lightness = rgb @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()
    assert colour_confidence(np.array([[np.nan, -1, 2]]))[0].tolist() == [[0, 0, 0], [68, 1, 84], [253, 231, 37]]


def test_contact_sheet(tmp_path):
    photo = np.full((30, 40, 3), 77, np.uint8)
    label = colour(np.tile(np.arange(3).repeat(4), (6, 1)), PALETTE)
    confidence = np.full((30, 40), 1.0, np.float32)
    rows = [[("image", photo), ("label", label), ("confidence", confidence)], [("a long name " * 20, photo)], []]
    path = tmp_path / "new" / "sheet.png"
    contact_sheet(rows, path, description=DESCRIPTION, tile_width_px=120)
    assert [p.name for p in path.parent.iterdir()] == ["sheet.png"]
    sheet = np.asarray(Image.open(path))
    assert sheet.shape[1] == 3 * 128 + 8
    tile_top = 8 + 22
    assert (sheet[tile_top : tile_top + 90, 8:128] == 77).all()
    assert (sheet[tile_top : tile_top + 60, 136:176] == PALETTE[0]).all(), "enlarged labels keep sharp borders"
    assert (sheet[tile_top : tile_top + 90, 264:384] == (253, 231, 37)).all()
    assert (sheet[8:tile_top, 8:128] < 100).any(), "no caption"
    legend = sheet[8 + 2 * (90 + 22 + 8) :].reshape(-1, 3)
    for rgb in (*PALETTE, (0, 0, 0), (253, 231, 37)):
        assert (legend == rgb).all(axis=1).any(), f"{rgb} is missing from the legend"


@pytest.mark.parametrize("height,width", [(2048, 16), (3000, 1), (1, 3000), (500, 400)])
def test_odd_shapes_do_not_make_a_sheet_of_a_thousand_rows(tmp_path, height, width):
    picture = np.full((height, width, 3), 77, np.uint8)
    contact_sheet([[("a", picture), ("b", picture)]] * 2, tmp_path / "sheet.png", tile_width_px=120)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 2 * 128 + 8 and sheet.height <= 2 * (180 + 22 + 8) + 16


def test_failed_write_leaves_the_old_sheet(tmp_path, monkeypatch):
    path = tmp_path / "sheet.png"
    contact_sheet([[("a", np.zeros((4, 4, 3), np.uint8))]], path)
    before = path.read_bytes()

    def full_disk(self, target, **kwargs):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        contact_sheet([[("b", np.ones((4, 4, 3), np.uint8))]], path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]


def test_bad_input(tmp_path):
    with pytest.raises(CsstError, match="no picture for the contact sheet .*sheet.png"):
        contact_sheet([[]], tmp_path / "sheet.png")
    with pytest.raises(ValueError, match="not int64 of shape"):
        contact_sheet([[("a", np.zeros((4, 4), np.int64))]], tmp_path / "sheet.png")


def test_long_captions_lose_their_middle_in_a_few_tries():
    class Font:
        tried = 0

        def getlength(self, text):
            self.tried += 1
            return 10 * len(text)

    font, caption = Font(), f"image07: {', '.join(f'class{k} IoU 0 %' for k in range(150))}"
    shown = pictures._shorten(caption, font, 205)
    assert len(shown) == 20 and shown == f"{caption[:9]}…{caption[-10:]}" and font.tried < 20
    assert pictures._shorten("image07.png", font, 110) == "image07.png"
    assert pictures._shorten("image07.png", font, 100) == "imag…7.png"
    assert pictures._shorten("image07.png", font, 0) == "…g"
