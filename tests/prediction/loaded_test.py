"""`csst_jax.load(…).predict`: of paths, arrays and Pillow's pictures."""

import re

import jax
import numpy as np
import pytest
from PIL import Image

import csst_jax
from csst_jax.models import zoo
from csst_jax.types import CsstError
from tests.data_prep.breaking import file, photo
from tests.prediction import toy_file


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
        run = tmp_path_factory.mktemp("run")
        toy_file.write(run / "student" / "model.safetensors")
        yield csst_jax.load(run)


def test_a_path_an_array_and_a_picture_are_the_same_image(net, tmp_path):
    pixels = photo(size=(40, 50))
    (tmp_path / "a.png").write_bytes(file(pixels))
    found = net.predict(tmp_path / "a.png")
    assert found.classes.dtype == np.uint8 and found.classes.shape == (40, 50)
    assert found.confidence.dtype == np.float32 and (found.confidence >= 0.25).all() and (found.confidence <= 1).all()
    np.testing.assert_array_equal(found.image, pixels)
    assert len(np.unique(found.classes)) > 1
    for other in (str(tmp_path / "a.png"), pixels, Image.fromarray(pixels)):
        np.testing.assert_array_equal(net.predict(other).classes, found.classes)
    assert (net.classes, net.palette) == (found.names, found.palette) == (toy_file.CLASSES, toy_file.PALETTE)


def test_classes_and_confidence_are_those_of_the_logits(net):
    pixels = photo(size=(32, 64))
    found = net.predict(pixels)
    logits = np.asarray(net(net.preprocessing(pixels[None].astype(np.float32) / 255)))[0]
    np.testing.assert_array_equal(found.classes, logits.argmax(-1))
    np.testing.assert_allclose(found.confidence, jax.nn.softmax(logits).max(-1), atol=1e-5)


def test_a_turned_photo_is_predicted_upright(net, tmp_path):
    upright = photo(size=(32, 64))
    (tmp_path / "turned.png").write_bytes(file(np.rot90(upright), exif=6))
    for image in (tmp_path / "turned.png", Image.open(tmp_path / "turned.png")):
        found = net.predict(image)
        np.testing.assert_array_equal(found.image, upright)
        np.testing.assert_array_equal(found.classes, net.predict(upright).classes)


def test_settings_count(net):
    pixels = photo(size=(40, 70))
    plain = net.predict(pixels).confidence
    for settings in ({"flip": True}, {"scales": [0.5, 1.0]}, {"window_px": 32}, {"pad_px": 1}):
        assert (net.predict(pixels, **settings).confidence != plain).any(), settings
    with pytest.raises(CsstError, match="prediction scales are"):
        net.predict(pixels, scales=[float("nan")])
    with pytest.raises(CsstError, match="pad_px=0"):
        net.predict(pixels, pad_px=0)


@pytest.mark.parametrize(
    "image,said",
    [
        (np.zeros((4, 4, 3), np.float32), r"a uint8 array of h w 3.* this is float32 of shape \(4, 4, 3\)"),
        (np.zeros((4, 4), np.uint8), r"this is uint8 of shape \(4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"of shape \(0, 4, 3\)"),
        (Image.new("CMYK", (4, 4)), r"colour mode CMYK; convert it to 8-bit RGB"),
        ("none.png", "none.png: cannot be read"),
        ("", "a path is empty"),
    ],
)
def test_what_is_no_image_is_refused(net, image, said):
    with pytest.raises(CsstError, match=said):
        net.predict(image)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_a_picture_of_more_than_8_bits_is_refused_with_a_line_that_scales_it(net, mode):
    picture = Image.new(mode, (40, 32), 25700 if mode != "F" else 25700.0)
    with pytest.raises(CsstError, match=f"colour mode {mode}.*Scale it to 0..255") as told:
        net.predict(picture)
    line = re.search("`(Image.*)`", str(told.value))[1].replace("HIGHEST", "65535")
    scaled = eval(line, {"Image": Image, "np": np, "picture": picture})
    assert (net.predict(scaled).image == 100).all()


def test_a_file_that_knows_no_classes_is_shown_with_numbers_and_colours(net, tmp_path):
    plain = csst_jax.load(toy_file.write(tmp_path / "plain.safetensors", classes=()))
    assert (plain.classes, plain.palette) == ((), ())
    found = plain.predict(photo())
    assert found.names == ("class 0", "class 1", "class 2", "class 3") and len(set(found.palette)) == 4


def test_what_the_memory_does_not_hold_is_told(net, monkeypatch):
    def fails(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")

    monkeypatch.setattr("csst_jax.evaluation.whole_image.WholeImagePredictor._for_size", fails)
    with pytest.raises(CsstError, match="an image of 50 x 40 px does not fit the memory; .* window_px=1024"):
        net.predict(photo(size=(40, 50)))
    with pytest.raises(CsstError, match="predicted in windows already: give less than window_px=32"):
        net.predict(photo(size=(40, 50)), window_px=32)
