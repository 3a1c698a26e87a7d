"""What a sampler's crops show (paper §3.2): each class's share of their pixels, counted in masks without training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from csst_jax.data import crop
from csst_jax.types import IGNORE_LABEL

if TYPE_CHECKING:
    from csst_jax.data.crop_plan import Sampler


@dataclasses.dataclass(frozen=True)
class Shares:
    """What crops show; every array has one entry a class.

    Attributes:
      pixels: float64 [C], share of the crops' pixels that are neither void nor padding; they add up to 1.
      crops: float64 [C], share of the crops that show the class.
    """

    pixels: np.ndarray
    crops: np.ndarray


def shares(
    sampler: Sampler,
    masks: Mapping[tuple[int, int], np.ndarray],
    num_classes: int,
    *,
    crop_px: int,
    scale_range: tuple[float, float],
    num_crops: int,
    seed: int = 0,
) -> Shares:
    """Counts in the crops of a sampler's first epoch.

    Pixels are counted where a crop is taken, and weigh what they take in the crop. That is a crop's own count but for
    the rounding of its resizing.

    Args:
      sampler: which crops.
      masks: uint8 [h, w] each, class numbers with 255 for void, by origin and record.
      num_classes: C.
      crop_px: side of the crops.
      scale_range: magnifications, drawn evenly.
      num_crops: how many crops to count in, at least 1.
      seed: of the plan and the magnifications.
    """
    scales = np.random.default_rng(seed).uniform(*scale_range, num_crops)
    pixels, showing = np.zeros(num_classes), np.zeros(num_classes)
    for row, scale in zip(sampler.plan(0, seed, num_crops), scales, strict=True):
        mask = masks[int(row["origin"]), int(row["record"])]
        centre = np.array([row["y"], row["x"]])
        at, to = crop.windows(mask.shape, centre, float(scale), crop_px, anywhere=bool(row["klass"] < 0))
        taken = mask[at.top : at.top + at.height, at.left : at.left + at.width]
        counts = np.bincount(taken.ravel(), minlength=IGNORE_LABEL + 1)[:num_classes]
        pixels += counts * (to.height * to.width / taken.size)
        showing += counts > 0
    return Shares(pixels / max(pixels.sum(), 1.0), showing / num_crops)
