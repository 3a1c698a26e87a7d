"""Connected components of label maps: one pass over all classes."""

from __future__ import annotations

import cc3d
import numpy as np

from csst_jax.types import IGNORE_LABEL, CsstError


def components(label: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Finds the 8-connected components of all classes in one pass.

    Args:
      label: uint8[h, w] class indices; `IGNORE_LABEL` (255) belongs to no component.
      num_classes: number of classes C.

    Returns:
      (klass int32[n], y float32[n], x float32[n], area int32[n]), centroids in pixels.

    Raises:
      CsstError: a value is neither a class nor 255.
      ValueError: `label` is not a two-dimensional uint8 array.
    """
    start, length, value = runs(label)
    require_known_values(value, length, num_classes)
    # cc3d takes 0 for background: shift the classes up by one, in uint8, so that void (255) wraps around to 0.
    component, count = cc3d.connected_components(label + np.uint8(1), connectivity=8, return_N=True)
    owner = component.ravel()[start]
    area, y, x = (of_all[1:] for of_all in areas_and_centroids(owner, start, length, label.shape[1], count + 1))
    klass = np.zeros(count + 1, np.int32)
    klass[owner] = value  # all runs of a component agree, so the last one written will do
    return klass[1:], y, x, area


def areas_and_centroids(
    group: np.ndarray, start: np.ndarray, length: np.ndarray, width: int, num_groups: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sizes and centroids of groups of runs.

    Args:
      group: int[n], which group each run belongs to.
      start: int64[n], where it starts in the flattened label.
      length: int64[n], its pixels.
      width: of the label.
      num_groups: g.

    Returns:
      (area int32[g], y float32[g], x float32[g]); the centroid of an empty group is NaN.
    """
    y, x = np.divmod(start, width)
    # Sums of whole and half numbers far below 2 ** 53: exact in float64, whatever the order.
    area, sum_y, sum_x = (
        np.bincount(group, weights, minlength=num_groups)[:num_groups]
        for weights in (length, length * y, length * (x + (length - 1) / 2))
    )
    with np.errstate(invalid="ignore"):
        return area.astype(np.int32), (sum_y / area).astype(np.float32), (sum_x / area).astype(np.float32)


def runs(label: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs of one value along a row: a few for every component, where pixels are millions.

    Args:
      label: uint8[h, w].

    Returns:
      (start int64[n] in the flattened label, length int64[n], value uint8[n]).

    Raises:
      ValueError: `label` is not a two-dimensional uint8 array.
    """
    if label.ndim != 2 or label.dtype != np.uint8:
        raise ValueError(f"label must be uint8[h, w], got {label.dtype}{list(label.shape)}.")
    begins = np.empty(label.shape, bool)
    begins[:, :1] = True
    np.not_equal(label[:, 1:], label[:, :-1], out=begins[:, 1:])
    start = np.flatnonzero(begins)
    return start, np.diff(start, append=label.size), label.ravel()[start]


def require_known_values(value: np.ndarray, length: np.ndarray, num_classes: int) -> None:
    """Refuses a label with values that mean nothing.

    Raises:
      CsstError: a value is neither a class nor 255; names each with its number of pixels.
    """
    histogram = np.bincount(value, length, minlength=256).astype(int)
    wrong = [value for value in range(num_classes, IGNORE_LABEL) if histogram[value]]
    if wrong:
        found = ", ".join(f"{value} ({histogram[value]} pixels)" for value in wrong)
        raise CsstError(
            f"label value {found} is outside the {num_classes} classes 0..{num_classes - 1}; "
            f"map it to a class, or to {IGNORE_LABEL} if it is void."
        )
