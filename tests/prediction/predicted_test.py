"""How a prediction is shown."""

import io

import numpy as np
from PIL import Image

from csst_jax.prediction.predicted import Predicted
from tests.data_prep.breaking import photo

PALETTE = ((10, 20, 30), (200, 100, 0), (0, 0, 255))


def predicted():
    classes = np.array([[0, 1, 1], [2, 2, 2]], np.uint8)
    confidence = np.full((2, 3), 0.5, np.float32)
    return Predicted(photo(size=(2, 3)), classes, confidence, ("a", "b", "c"), PALETTE)


def test_the_mask_holds_numbers_and_shows_colours():
    stream = io.BytesIO()
    predicted().mask().save(stream, "PNG")
    mask = Image.open(stream)
    assert mask.mode == "P"
    np.testing.assert_array_equal(np.asarray(mask), predicted().classes)
    np.testing.assert_array_equal(np.asarray(mask.convert("RGB")), np.array(PALETTE, np.uint8)[predicted().classes])


def test_the_overlay_lies_between_the_image_and_the_colours():
    p = predicted()
    colours = np.array(PALETTE, np.uint8)[p.classes]
    np.testing.assert_array_equal(p.overlay(0), p.image)
    np.testing.assert_array_equal(p.overlay(1), colours)
    np.testing.assert_allclose(p.overlay(), (p.image.astype(float) + colours) / 2, atol=1)


def test_areas_add_up():
    areas = predicted().areas()
    assert {name: area["pixels"] for name, area in areas.items()} == {"a": 1, "b": 2, "c": 3}
    assert [area["share"] for area in areas.values()] == [0.166667, 0.333333, 0.5]
