"""Which id a line of a list means, and what is refused because it could mean another."""

import unicodedata

import pytest

from csst_jax.data.id_lists import IdList
from csst_jax.types import CsstError

FLAT = ("2007_000032", "2007_000039", "frame.0001", "my photo")
NESTED = ("im00", "im01", "siteB/im00", "siteB/im05", "siteB/my photo", "x/s1/im07")


def find(ids, *lines, labelled=None):
    return IdList(ids, ids if labelled is None else labelled).find(lines, "list.txt")


def refused(ids, *lines):
    with pytest.raises(CsstError, match=r"^list.txt: ") as error:
        find(ids, *lines)
    return str(error.value)


@pytest.mark.parametrize(
    "line,image_id",
    [
        ("2007_000032", "2007_000032"),
        ("  2007_000032\t", "2007_000032"),
        ("2007_000032.JPG", "2007_000032"),
        ("JPEGImages/2007_000032.jpg", "2007_000032"),
        ("/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png", "2007_000032"),
        ("C:\\VOC\\JPEGImages\\2007_000032.jpg", "2007_000032"),
        ("JPEGImages/2007_000032.jpg,Masks/2007_000032.png", "2007_000032"),
        ("2007_000032 2007_000032_mask", "2007_000032"),
        ("frame.0001", "frame.0001"),
        ("images/frame.0001.tif", "frame.0001"),
        ("my photo", "my photo"),
        ("images/my photo.png masks/my photo.png", "my photo"),
    ],
)
def test_lines_of_a_flat_data_set(line, image_id):
    assert find(FLAT, line) == {image_id}


@pytest.mark.parametrize(
    "line,image_id",
    [
        ("siteB/im00.png", "siteB/im00"),
        ("./siteB/im00.png", "siteB/im00"),
        ("siteB\\im00.png", "siteB/im00"),
        ("im00", "im00"),
        ("im00.png", "im00"),
        ("images/siteB/im00.png masks/siteB/im00.png", "siteB/im00"),
        ("siteB/my photo.png", "siteB/my photo"),
        ("data/siteB/my photo.png data/masks/siteB/my photo.png", "siteB/my photo"),
        ("s1/im07", None),  # a part of an id is none
        ("siteC/im00.png", None),  # not im00 of another directory
        ("images/im00.png", None),  # whether `images` is a site, nobody knows
        ("siteC/siteB/im00.png", "siteB/im00"),
        ("im00 im01", None),
        ("images/siteB/im05.png images/siteB/im00.png", None),
        ("im00.7", None),
        ("nothing", None),
    ],
)
def test_lines_of_a_data_set_with_directories(line, image_id):
    if image_id is None:
        assert f"1 line means no image of the data set, or several: {line}. Write one id" in refused(NESTED, line)
    else:
        assert find(NESTED, line) == {image_id}


def test_an_end_that_several_ids_have_means_none_of_them():
    ids = ("s1/im00", "siteB/s1/im00")
    assert find(ids, "s1/im00", "siteB/s1/im00.png") == set(ids)
    assert "s1/im00" in refused(ids, "siteC/s1/im00.png")


def test_directories_of_unlabelled_images_alone_do_not_count():
    ids = ("im00", "im01", "unlabelled/im00")
    assert find(ids, "im01.png", "unlabelled/im00.png", labelled=ids[:2]) == {"im01", "unlabelled/im00"}
    assert find(ids, "images/im01.png", labelled=ids[:2]) == {"im01"}
    assert find(("im01", "unlabelled/im05"), "photos/im01.png", labelled=("im01",)) == {"im01"}


def test_comments_empty_lines_and_repetitions():
    assert find(FLAT, "# drawn by hand", "", "my photo", "my photo", " ") == {"my photo"}
    assert "'a/my photo.png' and 'b/my photo.png' are both 'my photo'" in refused(
        FLAT, "a/my photo.png", "b/my photo.png"
    )
    assert find(FLAT, "# nothing") == set()
    assert find(("#1 front", " side", "top"), "# shots", "#1 front", "images/ side.png") == {"#1 front", " side"}


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("listed", ["NFC", "NFD"])
def test_letters_composed_or_not(stored, listed):
    stored, listed = (unicodedata.normalize(form, "café/Ångström") for form in (stored, listed))
    assert find((stored, "other"), f"images/{listed}.png") == {stored}


def test_cityscapes_names():
    ids = ("aachen_000000_000019",)
    assert find(ids, "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png") == set(ids)


def test_the_beginning_of_a_name_is_no_image_of_its_own():
    ids = ("photo", "photo (2)", "photo (3)", "scan 1")
    for line in (
        "photo (4)",
        "photo (4).jpg",
        "images/photo (4).png masks/photo (4).png",
        "photo - copy",
        "photo.jpg (4)",
    ):
        assert f"means no image of the data set, or several: {line}." in refused(ids, line)
    for line in ("photo photo_mask", "images/photo.jpg masks/photo.png", "images/photo.jpg;masks/photo-gt.png"):
        assert find(ids, line) == {"photo"}
    assert find(ids, "images/photo (2).jpg masks/photo (2).png", "scan 1 masks/scan 1") == {"photo (2)", "scan 1"}
    name = "aachen_000000_000019"
    assert find((name,), f"a/{name}_leftImg8bit.png b/{name}_gtFine_labelIds.png") == {name}
    assert find((name,), f"{name}.jpg mask_17.png") == {name}, "with suffixes it is clear which is the image"


@pytest.mark.parametrize("ids", [("a", "a "), ("a ", "a")])
def test_of_names_that_differ_by_a_space_at_the_end_the_one_without_is_meant(ids):
    assert IdList(ids, ids).find(["a"], "list") == {"a"}
