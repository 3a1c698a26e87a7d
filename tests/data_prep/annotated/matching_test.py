"""Which image an entry means, by the end of its path."""

import pathlib

import pytest

from csst_jax.data.picture_file import Bad
from data_prep.annotated.matching import Images
from data_prep.annotated.shapes import Annotated

BESIDE = pathlib.Path("annotations")


def find(ids, *names, uploaded=""):
    images = Images({image_id: pathlib.Path("photos") / f"{image_id}.jpg" for image_id in ids})
    return images.find(Annotated(names, "x.json", (0, 0), (), uploaded), BESIDE)


@pytest.mark.parametrize(
    "ids,name,image_id",
    [
        (["a"], "a.jpg", "a"),
        (["a"], "photos/a.jpg", "a"),
        (["train/a"], "a.jpg", "train/a"),
        (["train/a", "valid/b"], "images/train/a.jpg", "train/a"),
        (["video1/frame_0001"], "video2/frame_0001.jpg", None),
        (["video1/frame_0001"], "video2\\frame_0001.jpg", None),
        (["video1/frame_0001", "video3/frame_0001"], "video2/frame_0001.jpg", None),
        (["x/video1/frame_0001"], "y/video1/frame_0001.jpg", "x/video1/frame_0001"),
        (["video1/frame_0001", "frame_0001"], "video1/frame_0001.jpg", "video1/frame_0001"),
    ],
)
def test_an_image_of_another_directory_is_not_meant(ids, name, image_id):
    assert find(ids, name) == image_id


def test_several_images_of_one_name_are_refused():
    with pytest.raises(Bad, match="x.json: 'frame.jpg' can be video1/frame, video2/frame. Put the annotations"):
        find(["video1/frame", "video2/frame"], "frame.jpg")


@pytest.mark.parametrize(
    "image_id", ["IMG 1 (2)", "IMG_1_2", "phone/IMG 1 [2]", "IMG 1, 2"], ids=["brackets", "same", "directory", "comma"]
)
def test_an_uploaded_file_has_lost_blanks_and_brackets(image_id):
    assert find([image_id, "IMG 1"], "/data/upload/3/0f1e2d3c-IMG_1_2.jpg", uploaded="IMG_1_2.jpg") == image_id
    assert find([image_id], "IMG_1_2.jpg") == (image_id if image_id == "IMG_1_2" else None), "of other tools it has not"


def test_an_uploaded_file_that_can_be_two_images_is_refused():
    with pytest.raises(Bad, match=r"'IMG_1_2.jpg' can be IMG 1 \(2\), IMG_1_2. "):
        find(["IMG 1 (2)", "IMG_1_2"], "/data/upload/3/0f1e2d3c-IMG_1_2.jpg", uploaded="IMG_1_2.jpg")


def test_images_that_are_links_to_the_same_content_are_told_apart(tmp_path):
    """As git-annex and DVC store what is there twice."""
    (tmp_path / "content").write_bytes(b"")
    paths = {name: tmp_path / f"{name}.jpg" for name in ("a", "b")}
    for path in paths.values():
        path.symlink_to(tmp_path / "content")
    assert Images(paths).find(Annotated(("a.jpg",), "x.json", (0, 0), ()), tmp_path) == "a"
