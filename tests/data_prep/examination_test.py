"""What examining one stored record tells of it."""

import pytest

from csst_jax.data.stored import encoded, tiles
from data_prep.examination import Stored, examine
from tests.data_prep.breaking import CLASSES, file, flipped, mask, photo, sixteen_bits


def record(image=None, label=None, labelled=True):
    """Examining one record whose stored bytes are these."""

    def case():
        image_bytes = file(photo()) if image is None else image
        label_bytes = encoded.encode_label(mask()) if label is None else label
        found = examine(Stored("a", image_bytes, label_bytes, labelled), len(CLASSES))
        return "\n".join([*found.errors, *found.warnings])

    return case


TILED = tiles.encode(photo(size=(150, 150)))

CASES = {
    "image is damaged": (record(image=b"\x89PNG"), "damaged image: neither PNG nor JPEG nor tiles"),
    "image is empty": (
        record(image=b""),
        "damaged image: neither PNG nor JPEG nor tiles, or damaged (0 bytes)",
    ),
    "image in tiles is cut off": (record(image=TILED[:-1]), "damaged image: an image in tiles is cut off"),
    "image in tiles has a flipped byte": (record(image=flipped(TILED, len(TILED) // 2)), "damaged image: "),
    "label is damaged": (record(label=b"x"), "damaged label: neither PNG nor JPEG nor tiles"),
    "label has a value too many": (record(label=file(mask(0, 5))), "label value 5 ("),
    "label has 16 bits": (
        record(label=sixteen_bits(mask())),
        "the label is uint16[12, 16] and must be uint8[h, w]",
    ),
    "label is RGB": (record(label=file(photo())), "the label is uint8[12, 16, 3] and must be uint8[h, w]"),
    "sizes differ": (record(label=file(mask(size=(11, 16)))), "the image is 16x12 and its label 16x11 pixels"),
    "labels without a mask": (
        record(labelled=False),
        "labels in an image that is listed as one without a mask",
    ),
    "image is black": (
        record(image=file(photo() * 0)),
        "every pixel of the image is (0, 0, 0); is it the right file?",
    ),
    "image is a picture of a mask": (
        record(image=file(photo(size=(1, 3)).repeat(12, 0).repeat(6, 1)[:, :16])),
        "the image has only 3 colours; is it a mask, or a picture of one?",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_broken_record_is_told(name):
    case, message = CASES[name]
    assert message in case()


def test_a_whole_record_is_told_nothing_of():
    assert record()() == ""
