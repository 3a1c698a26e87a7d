"""Images of one scene are named, those of other scenes are not, and ten thousand take seconds."""

import io
import time

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from data_prep import near_duplicates
from data_prep.examination import Stored, examine, findings
from tests.data_prep.breaking import file


def scene(seed, size=(120, 160)):
    """A picture of large soft patches, as scenes have them."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def saved_anew(picture):
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=40)
    return Image.open(stream)


CHANGES = {
    "saved as JPEG": saved_anew,
    "at half the size": lambda picture: picture.resize((80, 60)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "cut at the side": lambda picture: picture.crop((3, 2, 160, 120)),
}


def examined(**splits):
    def one(name, pixels):
        return examine(Stored(name, file(pixels), file(np.zeros(pixels.shape[:2], np.uint8)), True), 2)

    return {
        split: [one(f"{split}{number}", pixels) for number, pixels in enumerate(images)]
        for split, images in splits.items()
    }


@pytest.mark.parametrize("change", CHANGES)
def test_another_copy_in_the_other_split_is_named_with_what_to_do(change):
    copy = np.asarray(CHANGES[change](Image.fromarray(scene(1))).convert("RGB"))
    (told,) = findings(examined(train=[scene(0), scene(1), scene(2)], val=[scene(3), copy])).warnings
    assert told.startswith("1 of 2 images of split 'val' look almost like one of 'train': val/val1 ≈ train/train1. ")
    assert told.endswith(
        "again with --group_by and another --name, or with the validation images listed in --val_list=FILE."
    )


def test_other_scenes_and_images_of_one_split_are_not():
    splits = examined(train=[scene(seed) for seed in range(20)] * 2, val=[scene(seed) for seed in range(20, 40)])
    assert not [told for told in findings(splits).warnings if "look almost" in told]


def test_images_of_one_colour_look_like_none():
    assert near_duplicates.look(np.full((20, 30, 3), 7, np.uint8)) is None
    assert near_duplicates.look(scene(0)) is not None


def test_the_same_pixels_are_told_once_as_an_error():
    found = findings(examined(train=[scene(0)], val=[scene(0)]))
    assert "images are in more than one split" in found.errors[0]
    assert not [told for told in found.warnings if "look almost" in told]


def test_the_nearest_is_found_among_many_in_a_moment():
    rng = np.random.default_rng(0)
    looks = [rng.bytes(40) for _ in range(10_000)]
    begin = time.process_time()
    places, bits = near_duplicates.nearest(looks[:2_000][::-1], looks)
    assert time.process_time() - begin < 10  # 0.4 s
    assert places.tolist() == list(range(2_000))[::-1] and not bits.any()
