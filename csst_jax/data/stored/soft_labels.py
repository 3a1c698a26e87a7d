"""Soft pseudo labels, compactly: the most probable classes of each pixel and their probabilities (paper eq. 6).

Of k classes a record has 2k - 1 maps, in tiles: the hard label, the classes of the ranks 2 to k, their probabilities.
The first class's probability is what is left of 1. Where the teacher is sure, all but the first map are zero, and take
next to no space. Only probabilities of few bits do so: the last bits of a number are noise.
"""

from __future__ import annotations

import numpy as np

from csst_jax.data.stored import tiles
from csst_jax.types import IGNORE_LABEL, SOFT_ONE


def encode(label: np.ndarray, classes: np.ndarray, probabilities: np.ndarray, bits: int) -> bytes:
    """A soft label as it is stored.

    Args:
      label: uint8 [h, w], the most probable class; 255 = void, whose other maps are zero.
      classes: uint8 [k, h, w], the most probable classes, that of `label` first.
      probabilities: float32 [k, h, w], theirs; they need not add up to 1.
      bits: of a stored probability: 2, 4 or 8.
    """
    shares = quantised(probabilities, bits)
    shares[:, label == IGNORE_LABEL] = 0
    others = np.where(shares, classes[1:], 0)
    return tiles.encode_planes(np.stack([label, *others, *shares], axis=-1))


def quantised(probabilities: np.ndarray, bits: int) -> np.ndarray:
    """The probabilities of the ranks 2 to k as they are stored, renormalised so that those of all ranks add up to 1.

    The sums over the first one, two and so on are rounded. So no probability comes out below 0. Each is less than one
    step of 1 / (2**bits - 1) from its value, and the first at most half a step.

    Args:
      probabilities: float32 [k, h, w], the largest first.
      bits: 2, 4 or 8: then 255 is a multiple of the steps, and a reader need not know how many there are.

    Returns:
      uint8 [k - 1, h, w], in 255ths.
    """
    steps = 2**bits - 1
    reached = np.cumsum(probabilities, axis=0)
    reached = np.rint(steps * (reached[:-1] / reached[-1:]))
    return (np.diff(reached, axis=0, append=steps) * (SOFT_ONE // steps)).astype(np.uint8)
