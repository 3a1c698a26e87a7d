"""Which image an entry means, by the end of its path."""

import pathlib

import pytest

from csst_jax.data.picture_file import Bad
from data_prep.annotated.matching import Images
from data_prep.annotated.shapes import Annotated

BESIDE = pathlib.Path("annotations")


def find(ids, *names):
    images = Images({image_id: pathlib.Path("photos") / f"{image_id}.jpg" for image_id in ids})
    return images.find(Annotated(names, "x.json", (0, 0), ()), BESIDE)


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
