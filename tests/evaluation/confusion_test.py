"""Confusion matrix: counting, accumulation, and agreement with cityscapesscripts."""

import math
import types

import jax
import numpy as np
import pytest

from csst_jax.evaluation.confusion import (
    ConfusionMatrix,
    confusion,
    frequency_weighted_iou,
    iou,
    mean,
    miou,
    pixel_accuracy,
)
from csst_jax.types import CsstError


def make_batch(num_classes=5, shape=(8, 16, 12), seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, shape).astype(np.uint8)
    predictions = np.where(rng.random(shape) < 0.6, labels, rng.integers(0, num_classes, shape)).astype(np.int32)
    labels[rng.random(shape) < 0.2] = 255
    return labels, predictions


def reference(labels, predictions, num_classes):
    matrix = np.zeros((num_classes, num_classes), np.int64)
    valid = labels != 255
    np.add.at(matrix, (labels[valid], predictions[valid]), 1)
    return matrix


def test_counts():
    labels, predictions = make_batch()
    matrix = confusion(labels, predictions, 5)
    assert matrix.dtype == np.int64
    assert np.array_equal(matrix, reference(labels, predictions, 5))


def test_no_program_is_made_for_images_of_a_new_size():
    """A data set may have hundreds of sizes; each program took a third of a second and 4 MiB, for good."""
    evaluator = ConfusionMatrix(list("abcde"))
    compiled = []

    def note(event, *_, **__):
        compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    for height in (7, 11):
        evaluator.update(*make_batch(shape=(1, height, 13)))
    jax.monitoring.unregister_event_duration_listener(note)
    assert not compiled


def test_accumulates_beyond_int32():
    evaluator = ConfusionMatrix(["a", "b"])
    evaluator.matrix[0, 0] = 2**31 - 1
    evaluator.update(*np.zeros((2, 1, 4, 4), np.uint8))
    assert evaluator.matrix[0, 0] == 2**31 + 15


def test_evaluator_over_batches():
    evaluator = ConfusionMatrix(["a", "b", "c", "d", "e", "absent"])
    batches = [make_batch(seed=s) for s in range(3)]
    for labels, predictions in batches:
        evaluator.update(labels, predictions)
    expected = sum(reference(labels, predictions, 6) for labels, predictions in batches)
    assert np.array_equal(evaluator.matrix, expected)
    result = evaluator.result()
    assert result["iou"]["absent"] is None
    scores = [expected[c, c] / (expected[c].sum() + expected[:, c].sum() - expected[c, c]) for c in range(5)]
    assert list(result["iou"].values())[:5] == pytest.approx(scores)
    assert result["miou"] == pytest.approx(np.mean(scores))


def test_iou_of_a_small_example():
    matrix = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    np.testing.assert_allclose(iou(matrix), [6 / 9, 3 / 6, np.nan])
    assert miou(matrix) == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert pixel_accuracy(matrix) == 9 / 12
    assert frequency_weighted_iou(matrix) == pytest.approx(8 / 12 * 6 / 9 + 4 / 12 * 3 / 6)
    matrix[0, 2] = 3  # predicted, and not in the ground truth
    np.testing.assert_allclose(iou(matrix), [6 / 12, 3 / 6, 0])
    assert math.isnan(miou(np.zeros((3, 3), np.int64)))


def test_agrees_with_cityscapesscripts():
    official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    labels_module = pytest.importorskip("cityscapesscripts.helpers.labels")
    # trainId -> labelId; the official functions index the matrix by labelId.
    ids = [labels_module.trainId2label[t].id for t in range(19)]
    labels, predictions = make_batch(19, (2, 64, 48))
    labels[labels == 15] = 255  # bus: neither in the ground truth ...
    predictions[predictions == 15] = 13  # ... nor predicted, officially NaN as well
    ours = confusion(labels, predictions, 19)

    eval_labels = [label.id for label in labels_module.labels if label.id >= 0]
    args = types.SimpleNamespace(evalLabels=eval_labels)
    table = np.zeros((max(eval_labels) + 1,) * 2, np.int64)
    # Officially ignored pixels are rows too (here labelId 0): predictions there must be no false positives.
    np.add.at(table, (np.where(labels == 255, 0, np.array(ids)[labels % 19]), np.array(ids)[predictions]), 1)
    assert table[0].sum() > 0
    scores = {i: official.getIouScoreForLabel(i, table, args) for i in ids}
    np.testing.assert_array_equal(iou(ours), [scores[i] for i in ids])
    assert miou(ours) == official.getScoreAverage(scores, args)
    assert math.isnan(scores[ids[15]])

    table[ids[0], ids[15]] += 7  # predicted without any ground truth
    assert official.getIouScoreForLabel(ids[15], table, args) == 0 == iou(table[np.ix_(ids, ids)])[15]


def test_bad_input():
    labels, predictions = make_batch()
    evaluator = ConfusionMatrix(["a", "b", "c", "d"])
    with pytest.raises(CsstError, match="outside the 4 classes"):
        evaluator.update(labels, np.minimum(predictions, 3))
    with pytest.raises(CsstError, match="outside the 4 classes"):
        evaluator.update(np.where(labels == 4, 255, labels), predictions)
    assert not evaluator.matrix.any(), "a refused batch must not be counted"
    with pytest.raises(CsstError, match="nothing to evaluate"):
        evaluator.result()


def test_the_mean_is_added_up_in_order_on_every_python():
    scores = np.array([0.1] * 10)
    total = 0.0
    for score in scores.tolist():
        total += score
    assert mean(scores) == total / 10 != 0.1, "`sum` of Python 3.12 and later would give 0.1"
