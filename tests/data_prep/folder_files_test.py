"""Which files are images and which are masks, where names are links or odd."""

import argparse
import os

import pytest

from csst_jax.types import CsstError
from data_prep import folder_files
from data_prep.problems import Problems
from tests.data_prep.breaking import file, mask, photo


@pytest.fixture
def flags(tmp_path):
    """Masks below the images; every file is a link into a store, as git-annex and DVC leave it."""
    (tmp_path / "store").mkdir()
    (tmp_path / "images" / "masks").mkdir(parents=True)
    for name, data in (
        ("p0.png", file(photo(0))),
        ("p1.png", file(photo(1))),
        ("masks/p0.png", file(mask())),
        ("masks/p1.png", file(mask())),
    ):
        content = tmp_path / "store" / f"{hash(data)}.png"
        content.write_bytes(data)
        (tmp_path / "images" / name).symlink_to(content)
    return argparse.Namespace(
        images=tmp_path / "images",
        masks=tmp_path / "images" / "masks",
        mask_suffix="",
        unlabelled=None,
        classes="ground,thing,sky",
    )


def found(flags):
    images = folder_files.find_images(flags, problems := Problems())
    masks = folder_files.find_masks(flags, images, problems)
    problems.raise_if_any()
    return images, masks


def test_masks_that_are_links_into_a_store_are_no_images(flags):
    images, masks = found(flags)
    assert set(images) == set(masks) == {"p0", "p1"}
    assert all(path.parent == flags.masks for path in masks.values())


def test_masks_with_a_suffix_that_are_links_into_a_store_are_no_images(flags):
    for path in [*flags.masks.iterdir()]:
        path.rename(flags.images / f"{path.stem}_mask.png")
    flags.masks, flags.mask_suffix = flags.images, "_mask"
    images, masks = found(flags)
    assert set(images) == set(masks) == {"p0", "p1"}


def test_images_below_masks_that_are_links_into_a_store_are_no_masks(flags):
    flags.images, flags.masks = flags.masks, flags.images  # the names alone count here
    images, masks = found(flags)
    assert set(images) == set(masks) == {"p0", "p1"} and all(path.parent == flags.masks for path in masks.values())


def test_classes_that_begin_with_a_tilde_are_names(flags):
    flags.classes = "~x,b"
    assert set(found(flags)[1]) == {"p0", "p1"}


def test_a_pipe_among_the_images_is_told_and_not_opened(flags):
    os.mkfifo(flags.images / "p2.jpg")
    with pytest.raises(CsstError, match="images/p2.jpg: a pipe or a device, and no file. Remove it."):
        found(flags)


def test_two_images_of_one_name_may_be_an_image_and_its_mask(flags):
    (flags.images / "p0.jpg").write_bytes(file(photo(0), "JPEG"))
    with pytest.raises(CsstError, match="p0.jpg and .*p0.png. If one is the mask of the other.*--mask_suffix=_mask"):
        found(flags)


@pytest.mark.parametrize(
    "name,fix",
    [
        ("p0_mask", "is {}/p0.png its image? Give --mask_suffix=_mask."),
        ("p0.jpg", "is {}/p0.png its image? Give --mask_suffix=.jpg."),
        ("p0 label ids", "is {}/p0.png its image? Give --mask_suffix=' label ids'."),
        ("mask_p0", "is {}/p0.png its image? Call the mask p0.png."),
        ("p0_2", "add the image or remove the mask."),
        ("p00", "add the image or remove the mask."),
    ],
)
def test_a_mask_with_a_word_more_in_its_name_is_told_what_to_do(flags, name, fix):
    (flags.masks / "p0.png").rename(flags.masks / f"{name}.png")
    with pytest.raises(CsstError) as error:
        found(flags)
    assert str(error.value).endswith(f"{name}.png: mask without an image in {flags.images}; {fix.format(flags.images)}")


@pytest.mark.parametrize("names", [("dataset.json", "dataset_info.json"), ("run.json", "config.json")])
def test_pictures_of_a_prepared_data_set_or_of_a_run_below_the_images_are_no_images(flags, names, capsys):
    """Who works in the directory of the photos has data and runs there; contact sheets would join the pool."""
    (flags.images / "made" / "pictures").mkdir(parents=True)
    for name in names:
        (flags.images / "made" / name).write_text("{}")
    for name in ("contact_sheet.png", "pictures/validation.png"):
        (flags.images / "made" / name).write_bytes(file(photo(5)))
    assert set(found(flags)[0]) == {"p0", "p1"}
    assert "left out 4: of a " in capsys.readouterr().err
    (flags.images / "made" / names[0]).unlink()
    assert set(found(flags)[0]) == {"p0", "p1", "made/contact_sheet", "made/pictures/validation"}
