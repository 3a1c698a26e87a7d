"""Which images to label next: those that a network is unsure of, and that are unlike the labelled and each other."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class Choice:
    """One image that is worth a mask.

    Attributes:
      position: in the arrays that `choose` was given.
      doubt: see `doubts`.
      distance: to the nearest image that is labelled or was chosen before, 1 where features are independent.
    """

    position: int
    doubt: float
    distance: float


def doubts(
    entropy: Float[np.ndarray, " n"], disagreement: Float[np.ndarray, " n"] | None = None
) -> Float[np.ndarray, " n"]:
    """How doubtful each image's prediction is, 1 in the mean.

    Args:
      entropy: mean over the image's pixels, from 0 to 1.
      disagreement: share of the pixels that two networks see as different classes; None with one network.

    >>> doubts(np.array([0.1, 0.3])).tolist()
    [0.5, 1.5]
    >>> doubts(np.array([0.1, 0.3]), np.array([0.2, 0.2])).tolist()
    [0.75, 1.25]
    """
    parts = [entropy] if disagreement is None else [entropy, disagreement]
    return np.mean([_of_mean(np.asarray(part, np.float64)) for part in parts], axis=0)


def choose(
    doubt: Float[np.ndarray, " n"],
    features: Float[np.ndarray, "n d"],
    labelled: Float[np.ndarray, "m d"],
    count: int,
) -> list[Choice]:
    """Images to label, the most useful first: greedily the largest product of doubt and distance.

    The distance alone would be the greedy k-centre choice of Sener & Savarese (arXiv:1708.00489).

    Args:
      doubt: of each candidate.
      features: of each candidate.
      labelled: features of the images that have a mask.
      count: how many to choose; all candidates if there are fewer.
    """
    every = np.concatenate([features, labelled]).astype(np.float64)
    spread = every.std(0)
    scaled = (every - every.mean(0)) / np.where(spread > 0, spread, 1)
    own, known = scaled[: len(features)], scaled[len(features) :]
    typical = np.sqrt(own.shape[1] * 2) or 1.0  # of two images with independent features of variance 1
    nearest = np.full(len(own), np.inf)
    for point in known:
        nearest = np.minimum(nearest, np.linalg.norm(own - point, axis=1) / typical)
    if not len(known):
        nearest = np.ones(len(own))
    found: list[Choice] = []
    left = np.ones(len(own), bool)
    for _ in range(min(count, len(own))):
        # Copies of a labelled image come last, the doubtful ones first.
        order = np.where(left, doubt * nearest, -1.0)
        best = int(np.lexsort((doubt * left, order))[-1])
        found.append(Choice(best, float(doubt[best]), float(nearest[best])))
        left[best] = False
        nearest = np.minimum(nearest, np.linalg.norm(own - own[best], axis=1) / typical)
    return found


def _of_mean(values: np.ndarray) -> np.ndarray:
    """Each value in units of the mean; ones where all are 0."""
    mean = values.mean() if len(values) else 0.0
    return values / mean if mean > 0 else np.ones_like(values)
