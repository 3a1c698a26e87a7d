"""What the label stage counts: the shares of classes, how sure the teacher is of them, and what is void."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from csst_jax.types import IGNORE_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from csst_jax.evaluation.whole_image import Prediction


class Counts:
    """Pixels of some images.

    A predicted image counts as it is predicted, before any threshold, or the means would hide what was dropped. An
    image that keeps its label is not predicted, and counts by that label.
    """

    def __init__(self, num_classes: int) -> None:
        """Nothing is counted yet."""
        self._predicted, self._kept = np.zeros((2, num_classes), np.int64)
        self._confidence = np.zeros(num_classes)
        self._pixels = self._ignored = 0

    def add_predicted(self, prediction: Prediction, label: np.ndarray) -> None:
        """An image, and the label that was made of its prediction, uint8 [h, w]."""
        classes, confidence = prediction.classes.ravel(), prediction.confidence.ravel().astype(np.float64)
        self._predicted += np.bincount(classes, minlength=self._predicted.size)
        self._confidence += np.bincount(classes, confidence, minlength=self._predicted.size)
        self._add(label)

    def add_kept(self, label: np.ndarray) -> None:
        """A label that stays, uint8 [h, w]."""
        self._kept += np.bincount(label[label != IGNORE_LABEL], minlength=self._kept.size)
        self._add(label)

    def _add(self, label: np.ndarray) -> None:
        self._pixels += label.size
        self._ignored += int((label == IGNORE_LABEL).sum())

    def as_json(self) -> dict[str, Any]:
        """`predicted` and `kept` pixels and sums of `confidence` by class; all `pixels`, and those `ignored`."""
        return {
            "predicted": self._predicted.tolist(),
            "kept": self._kept.tolist(),
            "confidence": self._confidence.tolist(),
            "pixels": self._pixels,
            "ignored": self._ignored,
        }


def joined(parts: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """The manifest's numbers.

    Args:
      parts: what `Counts.as_json` gave for each of them; at least one.
      classes: their names.

    Returns:
      `class_share` by class; `mean_confidence` by class, None for a class that is predicted nowhere; `ignored_share`,
      of all pixels.
    """
    predicted, kept, confidence = (np.sum([p[n] for p in parts], axis=0) for n in ("predicted", "kept", "confidence"))
    share = (predicted + kept) / max(int((predicted + kept).sum()), 1)  # kept labels may all be void
    mean = [float(c / n) if n else None for c, n in zip(confidence, predicted, strict=True)]
    return {
        "class_share": dict(zip(classes, share.tolist(), strict=True)),
        "mean_confidence": dict(zip(classes, mean, strict=True)),
        "ignored_share": sum(part["ignored"] for part in parts) / sum(part["pixels"] for part in parts),
    }
