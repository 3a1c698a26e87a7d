"""Boundary IoU (Cheng et al. 2021, arXiv 2103.16562): IoU of the bands along the classes' borders."""

from __future__ import annotations

import math

import cv2
import numpy as np
from jaxtyping import Bool, Int64, UInt8

from csst_jax.types import IGNORE_LABEL


def band_px(image_size: tuple[int, int], ratio: float) -> int:
    """Width of the band: `ratio` of the image's diagonal, rounded, at least 1 (the authors' boundary-iou-api)."""
    return max(round(ratio * math.hypot(*image_size)), 1)


def band(mask: Bool[np.ndarray, "h w"], width_px: int) -> Bool[np.ndarray, "h w"]:
    """The mask's pixels that are at most `width_px` from its outside, along either axis; beyond the image is outside.

    As the authors do it: the mask without its erosion by a square, on an image with a border of one pixel.
    """
    found = np.zeros_like(mask)
    if mask.any():
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # most classes fill a part of an image
        framed = np.pad(mask[box].astype(np.uint8), 1)
        inner = cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=width_px)[1:-1, 1:-1]
        found[box] = mask[box] & (inner == 0)
    return found


def boundary_counts(
    label: UInt8[np.ndarray, "h w"], prediction: UInt8[np.ndarray, "h w"], num_classes: int, ratio: float
) -> Int64[np.ndarray, "2 c"]:
    """Pixels in the intersection and in the union of each class's bands in ground truth and prediction.

    The paper defines the measure for one object. Here a class's mask is all of its pixels in an image, and images are
    summed before the division, as for IoU. Void (IGNORE_LABEL) is outside of every class in the ground truth, so a
    border with void is a border, and pixels there are not counted, whatever the prediction.
    """
    counts = np.zeros((2, num_classes), np.int64)
    valid = label != IGNORE_LABEL
    width = band_px(label.shape, ratio)
    shown = np.bincount(label[valid], minlength=num_classes) + np.bincount(prediction[valid], minlength=num_classes)
    for klass in np.flatnonzero(shown):
        truth, guess = (band(x == klass, width) & valid for x in (label, prediction))
        counts[:, klass] = np.count_nonzero(truth & guess), np.count_nonzero(truth | guess)
    return counts
