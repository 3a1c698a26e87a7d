"""Text in pictures: every letter is itself, not a box, and lies where its anchor says."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from csst_jax.evaluation.lettering import Font

PAPER, INK = (255, 255, 255), (34, 34, 34)


def written(text, at=(20, 10), anchor="la", size=(300, 40), size_px=14):
    picture = Image.new("RGB", size, PAPER)
    Font(size_px).write(picture, at, text, INK, anchor)
    return np.asarray(picture)[..., 0]


def box(text, **settings):
    """First and last row and column that have ink."""
    rows, columns = np.nonzero(written(text, **settings) < 128)
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_letters_beyond_ascii_are_drawn_each_as_itself():
    letters = "?aou\u00e4\u00f6\u00fc\u00df\u00e9\u00f1\u0142\u2026\u2013\u0416\u03b8\u6f22"
    drawn = {written(letter).tobytes() for letter in letters}
    assert len(drawn) == len(letters), "two letters look the same: boxes or question marks"


def test_an_umlaut_is_its_vowel_with_dots_above():
    dotted, plain = written("\u00fc", size_px=40, size=(80, 60)) < 128, written("u", size_px=40, size=(80, 60)) < 128
    first = np.nonzero(plain)[0].min()
    assert np.array_equal(dotted[first:], plain[first:]) and dotted[:first].any()
    assert len(np.flatnonzero(np.diff(dotted[:first].any(0).astype(int)) == 1)) == 2


def test_letters_and_accents_that_are_stored_apart_are_the_same():
    text = "Br\u00fccke"
    assert np.array_equal(written(unicodedata.normalize("NFD", text)), written(text))


def test_a_name_that_is_not_utf_8_is_written_with_numbers():
    assert np.array_equal(written("a\udcffb"), written(r"a\udcffb"))


@pytest.mark.parametrize("text", ["H", "HHHHHH"])
def test_anchors(text):
    at, width = (150, 20), Font(14).getlength(text)
    top, _, left, right = box(text, at=at)
    assert 20 <= top <= 26 and 150 <= left <= 153 and 0 <= 150 + width - right <= 4
    top, bottom, left, right = box(text, at=at, anchor="mm")
    assert abs((top + bottom) / 2 - 20) <= 1 and abs((left + right) / 2 - 150) <= 1.5
    assert 0 <= 150 - box(text, at=at, anchor="rm")[3] <= 3 and box(text, at=at, anchor="lm")[2] == box(text, at=at)[2]


def test_a_length_is_that_of_what_is_drawn():
    font, text = Font(14), "Stra\u00dfe/image 07.jpg"
    *_, left, right = box(text)
    assert abs(font.getlength(text) - (right - left)) <= 4
    assert font.getlength("") == 0 and font.getlength(2 * text) == pytest.approx(2 * font.getlength(text), abs=3)


def test_what_does_not_fit_is_cut_off():
    assert (written("H" * 200)[:, -3:] < 128).any() and (written("H" * 9, at=(-20, -5))[:, :3] < 128).any()
