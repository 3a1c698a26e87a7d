"""Is a pixel's probability the share of such pixels that are right? Reliability and expected calibration error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from csst_jax.evaluation.whole_image import Prediction

BINS = 10
"""Of probabilities, as wide as each other (Guo et al. 2017)."""


def reliability(predictions: Sequence[Prediction], masks: Mapping[int, np.ndarray], size: int) -> np.ndarray:
    """float64 [3, C, BINS], by predicted class and probability: pixels, sum of probabilities, right pixels.

    Args:
      predictions: of the pool.
      masks: uint8 [h, w] each, by record; pixels that are void in the mask are left out.
      size: number of classes C.
    """
    found = np.zeros((3, size * BINS))
    for prediction in predictions:
        truth = masks[prediction.record]
        counts = truth < size
        sure = prediction.confidence[counts].astype(np.float64)
        classes = prediction.classes[counts]
        cell = classes.astype(np.int64) * BINS + np.minimum((sure * BINS).astype(np.int64), BINS - 1)
        for row, weights in zip(found, (None, sure, truth[counts] == classes), strict=True):
            row += np.bincount(cell, weights=weights, minlength=size * BINS)
    return found.reshape(3, size, BINS)


def expected_error(found: np.ndarray) -> float | None:
    """Expected calibration error: the mean distance of a bin's right share from its mean probability, by pixels.

    Args:
      found: [3, BINS], as `reliability` has it for a class, or summed over classes.

    Returns:
      0 to 1; None where there is no pixel.
    """
    pixels, sure, right = found
    return float(np.abs(right - sure).sum() / pixels.sum()) if pixels.sum() else None


def overconfidence(found: np.ndarray) -> float:
    """Mean probability minus the share of right pixels: above 0 where the network is overconfident."""
    pixels, sure, right = found.sum(-1)
    return float((sure - right) / pixels)
