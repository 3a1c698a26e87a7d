"""Which image the regions of a Label Studio task are drawn on."""

import json

import pytest

from csst_jax.data.picture_file import Bad
from data_prep.annotated import label_studio
from data_prep.annotated.values import Value
from tests.data_prep.annotated import exports as e

SQUARE = {"points": e.percent(e.SQUARE)}
TWO = {"left": "photos/a.jpg", "right": "photos/b.jpg"}


def read(*tasks):
    return label_studio.read(Value(json.loads(e.label_studio(*tasks)), "x.json")).images


@pytest.mark.parametrize("names", [("left", "right"), ("img",)], ids=["of both", "of another name"])
def test_regions_of_two_images_are_refused(names):
    results = [e.result("s", SQUARE, number=name, to_name=name) for name in names]
    with pytest.raises(Bad) as error:
        read(e.task("a", *results, data=TWO))
    assert str(error.value).startswith("x.json: [0]: the task has 2 images (left, right), and its regions are of")
    assert "Keep one image in the task's data" in str(error.value)


def test_of_two_images_that_one_counts_which_the_regions_name():
    (image,) = read(e.task("a", e.result("s", SQUARE, to_name="right"), data=TWO))
    assert image.names == ("photos/b.jpg",)
    (image,) = read(e.task("a", e.result("s", SQUARE), data={"image": "photos/a.jpg", "text": "right"}))
    assert image.names == ("photos/a.jpg",) and image.uploaded == ""


def test_an_uploaded_file_is_known_without_the_beginning_of_its_name():
    (image,) = read(e.task("IMG_1_2", e.result("s", SQUARE)))
    assert image.names == ("/data/upload/3/0f1e2d3c-IMG_1_2.jpg", "0f1e2d3c-IMG_1_2.jpg")
    assert image.uploaded == "IMG_1_2.jpg"
