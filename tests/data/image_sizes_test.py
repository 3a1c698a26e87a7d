"""What is said of data sets whose images have many sizes."""

import re

import pytest

from csst_jax.data import image_sizes

PHOTOS = [(500, height) for height in range(330, 380, 5)]  # as in VOC


def test_few_sizes_are_worth_no_word():
    assert image_sizes.advice("evaluate", "val", PHOTOS[:3]) is None
    assert image_sizes.advice("evaluate", "val", []) is None


@pytest.mark.parametrize(
    "sizes,pad_px,said",
    [
        (PHOTOS, 1, "split 'val' has images of 10 sizes.*--config.evaluate.pad_px=32 pads them to 2 "),
        (PHOTOS + [(h, w) for w, h in PHOTOS], 1, "20 sizes.*pad_px=64 pads them to 2 "),
        ([(w, h) for w in (100, 900) for h in (100, 300, 900)], 16, "6 sizes.*pad_px=1024 pads them to 1 "),
    ],
)
def test_the_smallest_padding_that_leaves_a_few(sizes, pad_px, said):
    assert re.search(said, image_sizes.advice("evaluate", "val", sizes, pad_px))


def test_padding_that_is_set_counts():
    assert image_sizes.advice("label", "train", PHOTOS, 64) is None
    assert image_sizes.advice("label", "train", PHOTOS, 2048) is None
