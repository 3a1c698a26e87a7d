"""Confusion matrix and the scores of it, as the Cityscapes benchmark defines them; docs/scores.md compares others."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Float64, Int64, Integer

from csst_jax.types import IGNORE_LABEL, CsstError


def confusion(
    labels: Integer[np.ndarray, "b h w"], predictions: Integer[np.ndarray, "b h w"], num_classes: int
) -> Int64[np.ndarray, "c c"]:
    """Pixel counts, rows = ground truth, columns = prediction; on the host, as images of every size need no program.

    Pixels whose label is IGNORE_LABEL are not counted, whatever the prediction (so they are no false positives).
    Neither are pixels whose label or prediction is outside the classes: `ConfusionMatrix.update` reports those.
    """
    inside = (labels >= 0) & (labels < num_classes) & (predictions >= 0) & (predictions < num_classes)
    cells = labels[inside].astype(np.int64) * num_classes + predictions[inside]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def iou(matrix: Integer[Array | np.ndarray, "c c"]) -> Float64[np.ndarray, " c"]:
    """TP / (TP + FP + FN) of each class (`getIouScoreForLabel` of cityscapesscripts, to the last digit).

    NaN where the class is neither in the ground truth nor predicted; 0 where it is predicted alone.
    """
    matrix = np.asarray(matrix, dtype=np.int64)
    true_positive = np.diag(matrix)
    return ratio(true_positive, matrix.sum(axis=1) + matrix.sum(axis=0) - true_positive)


def ratio(intersection: Integer[np.ndarray, "*n"], union: Integer[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
    """Intersection by union; NaN where the union is empty."""
    return np.where(union > 0, intersection / np.maximum(union, 1), np.nan)


def mean(scores: Float64[np.ndarray, " c"]) -> float:
    """Mean of the classes' scores that are there; NaN if none is.

    Added up in the order of the classes, as cityscapesscripts does: numpy's own order gives another last digit, and so
    does `sum`, which keeps track of rounding errors from Python 3.12 on.
    """
    present = scores[~np.isnan(scores)].tolist()
    return functools.reduce(operator.add, present, 0.0) / len(present) if present else float("nan")


def miou(matrix: Integer[Array | np.ndarray, "c c"]) -> float:
    """Mean of the IoU over the classes that are in the ground truth or predicted; NaN if there is none."""
    return mean(iou(matrix))


def pixel_accuracy(matrix: Integer[Array | np.ndarray, "c c"]) -> float:
    """Share of the counted pixels whose class is right (Long et al. 2015, §5)."""
    matrix = np.asarray(matrix, dtype=np.int64)
    return float(np.trace(matrix) / matrix.sum())


def frequency_weighted_iou(matrix: Integer[Array | np.ndarray, "c c"]) -> float:
    """Mean of the IoU weighted by the classes' pixels in the ground truth (Long et al. 2015, §5)."""
    truth = np.asarray(matrix, dtype=np.int64).sum(axis=1)
    return float((truth * np.nan_to_num(iou(matrix))).sum() / truth.sum())


def by_class(class_names: Sequence[str], scores: Float64[np.ndarray, " c"]) -> dict[str, float | None]:
    """Scores by class for JSON, which has no NaN: None."""
    return {name: None if np.isnan(s) else float(s) for name, s in zip(class_names, scores, strict=True)}


class ConfusionMatrix:
    """Evaluator of semantic segmentation: a confusion matrix over any number of images, kept in host int64."""

    def __init__(self, class_names: Sequence[str]) -> None:
        """Starts empty; class_names are the classes in the order of their label values."""
        self.class_names = tuple(class_names)
        self.matrix = np.zeros((len(self.class_names),) * 2, np.int64)

    def update(
        self, labels: Integer[np.ndarray, "b h w"], predictions: Integer[np.ndarray, "b h w"]
    ) -> Int64[np.ndarray, "c c"]:
        """Counts a batch of images; returns its own matrix.

        Raises:
          CsstError: a label or a prediction is outside the classes and is not IGNORE_LABEL.
        """
        counts = confusion(labels, predictions, len(self.class_names))
        valid = np.count_nonzero(labels != IGNORE_LABEL)
        if counts.sum() != valid:
            raise CsstError(
                f"{valid - counts.sum()} of {valid} pixels have a label or a prediction outside the "
                f"{len(self.class_names)} classes (0..{len(self.class_names) - 1}, {IGNORE_LABEL} = ignored); "
                "check the label map of the data set."
            )
        self.matrix += counts
        return counts

    def result(self) -> dict:
        """The scores, ready for JSON: miou, iou by class (None: neither there nor predicted), and the other two.

        Raises:
          CsstError: no pixel was counted.
        """
        if not self.matrix.any():
            raise CsstError("nothing to evaluate: the images have no pixel with a class; check the split's masks.")
        return {
            "miou": miou(self.matrix),
            "iou": by_class(self.class_names, iou(self.matrix)),
            "pixel_accuracy": pixel_accuracy(self.matrix),
            "frequency_weighted_iou": frequency_weighted_iou(self.matrix),
        }
