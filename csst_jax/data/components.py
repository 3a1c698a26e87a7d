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
    if label.ndim != 2 or label.dtype != np.uint8:
        raise ValueError(f"label must be uint8[h, w], got {label.dtype}{list(label.shape)}.")
    histogram = np.bincount(label.ravel(), minlength=256)
    wrong = [value for value in range(num_classes, IGNORE_LABEL) if histogram[value]]
    if wrong:
        found = ", ".join(f"{value} ({histogram[value]} pixels)" for value in wrong)
        raise CsstError(
            f"label value {found} is outside the {num_classes} classes 0..{num_classes - 1}; "
            f"map it to a class, or to {IGNORE_LABEL} if it is void."
        )
    # cc3d takes 0 for background: shift the classes up by one, in uint8, so that void (255) wraps around to 0.
    shifted = label + np.uint8(1)
    component, count = cc3d.connected_components(shifted, connectivity=8, return_N=True)
    klass = np.zeros(count + 1, np.int32)
    klass[component.ravel()] = label.ravel()  # all pixels of a component agree, so the last one written will do
    statistics = cc3d.statistics(component, no_slice_conversion=True)
    centroids = statistics["centroids"][1:].astype(np.float32)
    area = statistics["voxel_counts"][1:].astype(np.int32)
    return klass[1:], centroids[:, 0], centroids[:, 1], area
