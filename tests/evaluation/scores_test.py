"""What is counted adds up, and the worst images are the worst."""

import numpy as np
import pytest

from csst_jax.evaluation.boundary import boundary_counts
from csst_jax.evaluation.scores import Scores, worst_images
from csst_jax.types import CsstError

CLASSES = ("a", "b", "c")


def make_images(count=4, size=(12, 16)):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (count, *size)).astype(np.uint8)
    predictions = np.where(rng.random(labels.shape) < 0.7, labels, 1 - labels).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.1] = 255
    return labels, predictions


def test_processes_add_up_to_one():
    labels, predictions = make_images()

    def counted(positions):
        scores = Scores(CLASSES, len(labels), 0.1)
        for position in positions:
            scores.update(position, labels[position], predictions[position])
        return scores

    whole, first, second = counted(range(4)), counted([0, 2]), counted([1, 3])
    assert first.counts.sum() and not np.array_equal(first.counts, whole.counts)
    first.counts = first.counts + second.counts
    ids = ("w", "x", "y", "z")
    assert first.result(ids) == whole.result(ids)
    np.testing.assert_array_equal(first.images, whole.images)
    np.testing.assert_array_equal(
        first.boundary, sum(boundary_counts(*p, 3, 0.1) for p in zip(labels, predictions, strict=True))
    )


def test_result_is_ready_for_json():
    labels, predictions = make_images()
    scores = Scores(CLASSES, len(labels), 0.1)
    with pytest.raises(CsstError, match="nothing to evaluate"):
        scores.result(("w", "x", "y", "z"))
    for position in range(4):
        scores.update(position, labels[position], predictions[position])
    found = scores.result(("w", "x", "y", "z"))
    matrix = np.array(found["confusion"])
    assert matrix.sum() == (labels != 255).sum() and matrix[0, 1] == ((labels == 0) & (predictions == 1)).sum()
    assert found["pixel_accuracy"] == pytest.approx((labels == predictions).sum() / (labels != 255).sum())
    assert found["boundary_iou"]["c"] is None and found["iou"]["c"] is None
    assert found["boundary_miou"] == pytest.approx((found["boundary_iou"]["a"] + found["boundary_iou"]["b"]) / 2)
    assert set(found["worst"]) == {"a", "b"}
    without = Scores(CLASSES, 1, 0)
    without.update(0, labels[0], predictions[0])
    assert "boundary_iou" not in without.result(("w",)) and not without.boundary.any()


def test_worst_images_are_among_those_that_show_much_of_the_class():
    def image(intersection, truth, predicted):
        return [[intersection, 0], [truth, 0], [predicted, 5]]

    images = np.array([image(0, 2, 9), image(50, 100, 100), image(30, 60, 90), image(0, 0, 70), image(99, 100, 100)])
    # The truth shows 2, 100, 60 and 100 pixels: from 80 on is much. The second class is predicted alone.
    assert worst_images(images) == {0: (1, 50 / 150)}
