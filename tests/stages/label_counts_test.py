"""Shares and means over shards, of predicted images and of such that keep their labels."""

import numpy as np
import pytest

from csst_jax.evaluation.whole_image import Prediction
from csst_jax.stages.label_counts import Counts, joined


def prediction(classes, confidence):
    return Prediction(0, None, np.array([classes], np.uint8), np.array([confidence], np.float32))


def test_predicted_pixels_count_as_predicted_and_kept_ones_as_labelled():
    first, second = Counts(3), Counts(3)
    first.add_predicted(prediction([0, 0, 1, 1], [0.9, 0.7, 0.5, 0.3]), np.array([[0, 0, 1, 255]], np.uint8))
    second.add_kept(np.array([[255, 2, 255, 2]], np.uint8))
    found = joined([first.as_json(), second.as_json()], ("road", "pole", "sign"))
    assert found["class_share"] == pytest.approx({"road": 2 / 6, "pole": 2 / 6, "sign": 2 / 6})
    assert found["mean_confidence"] == {"road": pytest.approx(0.8), "pole": pytest.approx(0.4), "sign": None}
    assert found["ignored_share"] == 3 / 8


def test_labels_that_stay_may_all_be_void():
    counts = Counts(2)
    counts.add_kept(np.full((2, 2), 255, np.uint8))
    assert joined([counts.as_json()], ("road", "pole")) == {
        "class_share": {"road": 0.0, "pole": 0.0},
        "mean_confidence": {"road": None, "pole": None},
        "ignored_share": 1.0,
    }
