"""Thresholds by class: the share that stays, and that a run keeps those that it began with."""

import json
import types

import numpy as np
import pytest

from csst_jax.evaluation.whole_image import Prediction
from csst_jax.stages import thresholds

CLASSES = ("road", "pole", "sign")


def predictions(seed=0, images=4):
    """Class 0 is sure, class 1 is not, class 2 is never predicted."""
    rng = np.random.default_rng(seed)
    for record in range(images):
        classes = (rng.random((40, 50)) < 0.2).astype(np.uint8)
        confidence = np.where(classes == 0, rng.uniform(0.9, 1.0, classes.shape), rng.uniform(0.3, 0.7, classes.shape))
        yield Prediction(record, np.zeros((40, 50, 3), np.uint8), classes, confidence.astype(np.float32))


def kept(found, klass):
    """Share of the pixels predicted as a class that reach its threshold."""
    values = np.concatenate([p.confidence[p.classes == klass] for p in predictions()])
    return (values >= found[klass]).mean()


@pytest.mark.parametrize("portion", [0.25, 0.5, 1.0])
def test_an_unsure_class_keeps_its_share_and_a_sure_one_the_threshold(portion):
    found = thresholds.by_class(predictions(), 3, 0.8, portion)
    assert found.dtype == np.float32
    assert found[0] == np.float32(0.8) and kept(found, 0) == 1
    assert portion <= kept(found, 1) <= portion + 0.02
    assert kept(np.full(3, 0.8), 1) == 0, "one threshold would leave nothing of it"


def test_a_class_that_is_never_predicted_has_the_threshold():
    assert thresholds.by_class(predictions(), 3, 0.8, 0.5)[2] == np.float32(0.8)


def test_the_surest_pixels_of_all_are_counted():
    certain = Prediction(0, np.zeros((1, 2, 3), np.uint8), np.zeros((1, 2), np.uint8), np.ones((1, 2), np.float32))
    assert thresholds.by_class([certain], 1, 1.0, 0.5)[0] == pytest.approx(0.999)


@pytest.fixture
def pool():
    description = types.SimpleNamespace(classes=CLASSES)
    return types.SimpleNamespace(
        dataset=types.SimpleNamespace(description=description), reader=None, unlabelled=range(1000)
    )


def settings(portion):
    return types.SimpleNamespace(confidence_threshold=0.8, class_portion=portion)


def test_without_a_portion_nothing_is_predicted(tmp_path, pool):
    found = thresholds.of_pool(tmp_path, settings(0.0), pool, None)
    assert found.tolist() == [np.float32(0.8)] * 3 and not any(tmp_path.iterdir())


def test_an_interrupted_run_goes_on_with_its_own_thresholds(tmp_path, pool):
    asked = []

    def predictor(reader, records):
        asked.append(records)
        return predictions()

    first = thresholds.of_pool(tmp_path, settings(0.5), pool, predictor)
    again = thresholds.of_pool(tmp_path, settings(0.5), pool, None)
    np.testing.assert_array_equal(first, again)
    assert len(asked) == 1 and len(set(asked[0])) == 128 and max(asked[0]) == 999
    stored = json.loads((tmp_path / thresholds.FILE).read_text(encoding="utf-8"))
    assert list(stored) == list(CLASSES) and stored["pole"] < stored["road"]
