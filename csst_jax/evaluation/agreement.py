"""How far two label maps agree: those of two networks, or of two rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Integer, UInt8

from csst_jax.evaluation.confusion import by_class, iou, mean
from csst_jax.types import IGNORE_LABEL

if TYPE_CHECKING:
    from collections.abc import Sequence


def counted(first: UInt8[np.ndarray, "h w"], second: UInt8[np.ndarray, "h w"], num_classes: int) -> np.ndarray:
    """int64 [c + 1, c + 1]: pixels by both labels; the last row and column are those of void."""
    side = num_classes + 1
    rows, columns = (np.where(x == IGNORE_LABEL, num_classes, x).ravel().astype(np.int64) for x in (first, second))
    return np.bincount(rows * side + columns, minlength=side**2).reshape(side, side)


def mean_iou(first: UInt8[np.ndarray, "h w"], second: UInt8[np.ndarray, "h w"], num_classes: int) -> float:
    """Mean IoU of one image's two label maps over the classes that one of them shows (`meanIOU` of ST++).

    The order does not matter. Pixels that are void in one of them are left out. 1.0 where no pixel is left.
    """
    matrix = counted(first, second, num_classes)[:-1, :-1]
    return mean(iou(matrix)) if matrix.any() else 1.0


def change(counts: Integer[np.ndarray, "n n"], classes: Sequence[str]) -> dict[str, Any]:
    """What became of labels.

    Args:
      counts: pixels by the label before (rows) and now (columns), as `counted` gives them.
      classes: names.

    Returns:
      `changed`: share of the pixels with another label than before, where void is a label. `agreement`: of the pixels
      with a class before and now, the share with the same one. `iou` by class and `miou`, of these pixels. `void` and
      `class_share`, before and now: the latter are shares of the pixels with a class. None where nothing can be said.
    """
    both = counts[:-1, :-1]
    scores = iou(both)
    shares = {"before": counts.sum(1), "now": counts.sum(0)}
    return {
        "changed": _share(counts.sum() - np.trace(counts), counts.sum()),
        "agreement": _share(np.trace(both), both.sum()),
        "miou": mean(scores) if both.any() else None,
        "iou": by_class(classes, scores),
        "void": {when: _share(pixels[-1], pixels.sum()) for when, pixels in shares.items()},
        "class_share": {
            when: {name: _share(n, pixels[:-1].sum()) for name, n in zip(classes, pixels[:-1], strict=True)}
            for when, pixels in shares.items()
        },
    }


def _share(part: np.integer, whole: np.integer) -> float | None:
    return float(part / whole) if whole else None
