"""A network whose training images were made smaller predicts large photos as small, at their own size."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

import csst_jax
from csst_jax.data.shrinking import shrunk_pixels
from csst_jax.evaluation.whole_image import Averaging
from csst_jax.models import zoo
from csst_jax.models.weights import files
from tests.data_prep.breaking import photo
from tests.prediction import toy_file


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """The same network, of images as they were and of images of 48 px at most."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
        directory = tmp_path_factory.mktemp("nets")
        arrays, description = files.read(toy_file.write(directory / "plain.safetensors"))
        files.write(directory / "small.safetensors", arrays, dataclasses.replace(description, longest_side=48))
        yield csst_jax.load(directory / "plain.safetensors"), csst_jax.load(directory / "small.safetensors")


def test_a_large_photo_is_predicted_as_small_and_answered_at_its_size(nets):
    plain, small = nets
    pixels = np.asarray(Image.fromarray(photo(size=(6, 8))).resize((96, 64)))
    expected = plain.predict(shrunk_pixels(pixels, 48))
    found = small.predict(pixels)
    assert found.classes.shape == found.confidence.shape == (64, 96) and expected.classes.shape == (32, 48)
    np.testing.assert_array_equal(found.image, pixels)
    np.testing.assert_array_equal(found.classes, expected.classes.repeat(2, 0).repeat(2, 1))
    assert found.confidence.dtype == np.float32 and len(np.unique(expected.classes)) > 1
    np.testing.assert_allclose(found.confidence.mean(), expected.confidence.mean(), atol=1e-3)
    assert (found.classes != plain.predict(pixels).classes).any(), "this test sees no difference"


def test_a_small_photo_is_predicted_as_it_is(nets):
    plain, small = nets
    pixels = photo(size=(32, 48))
    for field in ("image", "classes", "confidence"):
        np.testing.assert_array_equal(getattr(small.predict(pixels), field), getattr(plain.predict(pixels), field))


def test_images_keep_their_numbers(nets):
    images = [(7, photo(1, (64, 96))), (3, photo(2, (32, 48))), (5, photo(3, (64, 96)))]
    found = {one.record: one for one in nets[1].predictor(Averaging(pad_px=32)).of_images(images)}
    assert found.keys() == {7, 3, 5}
    for number, pixels in images:
        np.testing.assert_array_equal(found[number].image, pixels)
