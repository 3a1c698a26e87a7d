"""Intervals of scores: the bootstrap over images (Efron 1979)."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float64, Int64

RESAMPLES, SEED = 2000, 0
LEVEL = 0.95
LEAST_IMAGES = 8
"""Of fewer images the resamples are too much alike: three images have ten different ones."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """Where a value lies in 95 % of the resamples; NaN where too few of them have one.

    Attributes:
      low: its lower end.
      high: its upper end.
    """

    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether a difference has one sign all over."""
        return self.low > 0 or self.high < 0


def intervals(
    counts: Int64[np.ndarray, "n 3 c"], others: Int64[np.ndarray, "n 3 c"] | None = None
) -> tuple[Interval, list[Interval]]:
    """Of the mean IoU and of each class's; with `others` of the difference to theirs.

    Images are drawn with replacement, the same ones for both, so that what makes an image hard for both falls out.

    Args:
      counts: by image and class the pixels in the intersection, in the ground truth, and predicted.
      others: the same images' counts of another network.

    Raises:
      ValueError: there are fewer than `LEAST_IMAGES` images.
    """
    number = len(counts)
    if number < LEAST_IMAGES:
        raise ValueError(f"{number} images have no interval; {LEAST_IMAGES} are the least")
    drawn = np.random.default_rng(SEED).multinomial(number, np.full(number, 1 / number), size=RESAMPLES)
    values = _scores(drawn, counts)
    if others is not None:
        values = values - _scores(drawn, others)
    mean, *by_class = (_interval(column) for column in values.T)
    return mean, by_class


def _scores(drawn: Int64[np.ndarray, "r n"], counts: Int64[np.ndarray, "n 3 c"]) -> Float64[np.ndarray, "r d"]:
    """Mean IoU and IoU by class of each resample."""
    # Counts of a pixel each are exact in float64 up to 2**53, and its products are fast.
    intersection, truth, predicted = np.tensordot(drawn.astype(np.float64), counts, 1).transpose(1, 0, 2)
    union = truth + predicted - intersection
    with np.errstate(invalid="ignore"):
        scores = np.where(union > 0, intersection / union, np.nan)
    present = ~np.isnan(scores)
    mean = np.where(present, scores, 0).sum(1) / np.maximum(present.sum(1), 1)
    return np.concatenate([mean[:, None], scores], axis=1)


def _interval(values: Float64[np.ndarray, " r"]) -> Interval:
    found = values[~np.isnan(values)]
    if len(found) < LEVEL * RESAMPLES:  # what one image or two alone show has no spread that could be seen
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
