"""Groups of scalars, as TensorBoard and Weights & Biases show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_GROUPS = {
    "loss": "loss",
    "kept": "loss",
    "learning_rate": "rate",
    "epoch": "rate",
    "crop_px": "rate",
    "global_batch": "rate",
    "images_per_s": "speed",
    "input_wait_share": "speed",
    "left_s": "speed",
}
_PREFIXES = {"loss_": "loss", "score_iou_": "score/iou", "score_": "score"}
_REST = "step"


def grouped(scalars: Mapping[str, Any]) -> dict[str, Any]:
    """The same scalars by `GROUP/NAME`: loss, rate, speed, score, and step for what else a method measures.

    >>> grouped({"loss_main": 1, "learning_rate": 2, "score_miou": 3, "score_iou_Car": 4, "distance": 5})
    {'loss/main': 1, 'rate/learning_rate': 2, 'score/miou': 3, 'score/iou/Car': 4, 'step/distance': 5}
    """
    return {_name(name): value for name, value in scalars.items()}


def _name(name: str) -> str:
    if name in _GROUPS:
        return f"{_GROUPS[name]}/{name}"
    for prefix, group in _PREFIXES.items():
        if name.startswith(prefix):
            return f"{group}/{name.removeprefix(prefix)}"
    return f"loss/{name}" if name.endswith("_kept") else f"{_REST}/{name}"
