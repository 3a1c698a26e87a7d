"""Thresholds by class: the share that stays, and that a run keeps those that it began with."""

import dataclasses
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


def by_class(threshold, portion):
    return thresholds.kept_from(thresholds.counted(predictions(), 3)[0], threshold, portion)


@pytest.mark.parametrize("portion", [0.25, 0.5, 1.0])
def test_every_class_keeps_the_same_share_whether_it_is_sure_or_not(portion):
    found = by_class(0.0, portion)
    for klass in (0, 1):
        assert portion <= kept(found, klass) <= portion + 0.03
    assert kept(by_class(0.8, 0), 1) == 0 and kept(by_class(0.8, 0), 0) == 1, "one threshold keeps one class alone"


def test_the_threshold_holds_as_well():
    found = by_class(0.5, 0.8)
    assert found[1] == 0.5, "more than a fifth of class 1 is below it"
    assert found[0] > 0.9


def test_the_threshold_alone_holds_for_a_class_that_was_not_seen():
    counts = thresholds.counted(predictions(), 4)[0]
    assert thresholds.kept_from(counts, 0.0, 0.5)[3] == 0 and thresholds.kept_from(counts, 0.3, 0.5)[3] == 0.3


def test_the_surest_pixels_of_all_are_counted():
    certain = Prediction(0, np.zeros((1, 2, 3), np.uint8), np.zeros((1, 2), np.uint8), np.ones((1, 2), np.float32))
    counts, seconds = thresholds.counted([certain], 1)
    assert thresholds.kept_from(counts, 0.0, 0.5)[0] == pytest.approx(0.999999) and not seconds.any()


def test_a_class_of_which_the_teacher_is_nearly_certain_keeps_its_share_and_no_more():
    confidence = (1 - np.random.default_rng(0).uniform(0, 0.001, (40, 50))).astype(np.float32)
    road = Prediction(0, np.zeros((40, 50, 3), np.uint8), np.zeros((40, 50), np.uint8), confidence)
    found = thresholds.kept_from(thresholds.counted([road], 1)[0], 0.0, 0.3)[0]
    assert 0.999 < found < 1 and 0.3 <= (confidence >= np.float32(found)).mean() <= 0.32


def test_a_threshold_is_where_its_bin_begins():
    confidence = np.array([[0.0, 0.4996, 0.5004, 0.9989, 0.99900055, 0.9999995]], np.float32)
    found = []
    for value in confidence.ravel():
        pixel = np.full((1, 1), value)
        one = Prediction(0, np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8), pixel)
        found.append(thresholds.kept_from(thresholds.counted([one], 1)[0], 0.0, 1.0)[0])
    assert found == pytest.approx([0.0, 0.499, 0.5, 0.998, 0.999, 0.999999], abs=1.1e-6)
    assert (np.array(found, np.float32) <= confidence.ravel()).all()


def with_second(first, second, probability):
    """A prediction of 0.6 for one class, and of another probability for the next."""
    shape = first.shape
    return Prediction(0, np.zeros((*shape, 3), np.uint8), first, np.full(shape, 0.6, np.float32), second, probability)


def test_pixels_that_may_be_of_a_missed_class_are_void():
    rng = np.random.default_rng(0)
    first = np.zeros((40, 50), np.uint8)
    first[:1] = 2
    second = np.full((40, 50), 1, np.uint8)
    second[20:] = 2
    probability = rng.uniform(0, 0.4, (40, 50)).astype(np.float32)
    prediction = with_second(first, second, probability)
    counts, seconds = thresholds.counted([prediction], 3)
    # In the masks class 1 has a tenth of the pixels, class 2 less than is predicted.
    doubted = thresholds.doubted_from(counts, seconds, np.array([890, 100, 10]))
    assert doubted[0] == doubted[2] == 2.0 and 0 < doubted[1] < 0.4
    void = thresholds.Thresholds(np.zeros(3), doubted).void(prediction)
    assert not void[20:].any(), "second places of a class that is not missed"
    assert 400 <= void.sum() <= 410, "twice the 200 pixels that are missing"
    assert probability[:20][void[:20]].min() > probability[:20][~void[:20]].max() - 1e-3, "the surest of them"


def test_where_two_classes_are_possible_both_need_the_lower_of_their_thresholds():
    """A road needs 0.9, a pole 0.5 and a sign 0.95."""
    first, second = np.array([[0, 0, 0, 1, 1, 2]], np.uint8), np.array([[1, 1, 2, 0, 0, 0]], np.uint8)
    confidence = np.array([[0.6, 0.4, 0.8, 0.6, 0.4, 0.92]], np.float32)
    prediction = with_second(first, second, 1 - confidence)
    prediction = dataclasses.replace(prediction, confidence=confidence)
    needed, never = np.array([0.9, 0.5, 0.95], np.float32), np.full(3, 2.0, np.float32)
    by_own = thresholds.Thresholds(needed, never).void(prediction)
    assert by_own.tolist() == [[True, True, True, False, True, True]]
    by_lower = thresholds.Thresholds(needed, never, lower_of_two=True).void(prediction)
    assert by_lower.tolist() == [[False, True, True, False, True, False]]


def cracks():
    """A teacher that predicts background everywhere; where it is least sure, there may be cracks."""
    first, second = np.zeros((40, 50), np.uint8), np.ones((40, 50), np.uint8)
    confidence = np.linspace(0.5, 1, 2000, dtype=np.float32).reshape(40, 50)
    return dataclasses.replace(with_second(first, second, 1 - confidence), confidence=confidence)


def test_a_class_that_is_never_predicted_does_not_keep_all_labels_of_the_other(tmp_path, pool):
    """Else all that the teacher misses is labelled as background, however unsure it is."""
    pool.dataset.description.classes = ("background", "crack")
    asked = types.SimpleNamespace(**vars(settings(0.5)) | {"confidence_threshold": 0.0, "lower_of_two": True})
    found = thresholds.of_pool(tmp_path, asked, pool, range(1), lambda reader, records: [cracks()])
    assert 0.45 < found.void(cracks()).mean() <= 0.5
    stored = json.loads((tmp_path / thresholds.FILE).read_text(encoding="utf-8"))
    assert stored.pop("predicted_px") == {"background": 2000, "crack": 0}
    (tmp_path / thresholds.FILE).write_text(json.dumps(stored), encoding="utf-8")
    as_before = thresholds.of_pool(tmp_path, asked, pool, range(1), None)
    assert not as_before.void(cracks()).any(), "a run that an earlier version began goes on with its thresholds"


def test_of_a_class_that_is_never_second_either_nothing_is_void():
    first, second = np.zeros((4, 5), np.uint8), np.full((4, 5), 1, np.uint8)
    prediction = with_second(first, second, np.full((4, 5), 0.3, np.float32))
    doubted = thresholds.doubted_from(*thresholds.counted([prediction], 3), np.array([1, 0, 1]))
    assert not thresholds.Thresholds(np.zeros(3), doubted).void(prediction).any()


@pytest.fixture
def pool():
    description = types.SimpleNamespace(classes=CLASSES)
    return types.SimpleNamespace(
        dataset=types.SimpleNamespace(description=description), reader=None, unlabelled=range(1000)
    )


def settings(portion):
    return types.SimpleNamespace(confidence_threshold=0.8, class_portion=portion, void_missed=False, lower_of_two=False)


def test_without_a_portion_nothing_is_predicted(tmp_path, pool):
    found = thresholds.of_pool(tmp_path, settings(0.0), pool, pool.unlabelled, None)
    assert found.kept_from.tolist() == [np.float32(0.8)] * 3 and not any(tmp_path.iterdir())


def test_what_is_missed_is_told_by_the_masks_that_the_run_has(tmp_path, pool):
    """A tenth of their pixels are poles, of which none is predicted. The masks of other images show signs alone."""
    areas = {"record": [0, 0, 1], "klass": [0, 1, 2], "area": [90, 10, 900]}
    index = types.SimpleNamespace(num_classes=3, **{name: np.array(values) for name, values in areas.items()})
    pool.split, pool.labelled, pool.dataset.centroids = "train", (0,), {"train": index}.get
    first, second = np.zeros((40, 50), np.uint8), np.ones((40, 50), np.uint8)
    prediction = with_second(first, second, np.random.default_rng(0).uniform(0, 0.4, (40, 50)).astype(np.float32))
    asked = types.SimpleNamespace(**vars(settings(0.0)) | {"void_missed": True, "lower_of_two": True})
    found = thresholds.of_pool(tmp_path, asked, pool, pool.unlabelled, lambda reader, records: [prediction])
    assert found.kept_from.tolist() == [np.float32(0.8)] * 3 and found.lower_of_two
    assert found.doubted_from[0] == found.doubted_from[2] == 2.0 and 0.3 < found.doubted_from[1] < 0.35


def test_an_interrupted_run_goes_on_with_its_own_thresholds(tmp_path, pool):
    asked = []

    def predictor(reader, records):
        asked.append(records)
        return predictions()

    first = thresholds.of_pool(tmp_path, settings(0.5), pool, range(500, 1000), predictor)
    again = thresholds.of_pool(tmp_path, settings(0.5), pool, range(500, 1000), None)
    np.testing.assert_array_equal(first.kept_from, again.kept_from)
    assert len(asked) == 1 and len(set(asked[0])) == 128 and (min(asked[0]), max(asked[0])) == (500, 999)
    stored = json.loads((tmp_path / thresholds.FILE).read_text(encoding="utf-8"))
    assert list(stored["kept_from"]) == list(CLASSES) and stored["kept_from"]["pole"] < stored["kept_from"]["road"]
