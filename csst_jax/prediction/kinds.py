"""The pictures that can be written of a prediction."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from csst_jax.prediction.predicted import Predicted


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of picture, in a folder of its name.

    Attributes:
      suffix: of its files.
      draw: the picture of a prediction.
      options: of Pillow's writer, its format among them.
    """

    suffix: str
    draw: Callable[[Predicted], Image.Image]
    options: Mapping[str, Any]


def _confidence(predicted: Predicted) -> Image.Image:
    return Image.fromarray((255 * predicted.confidence).round().astype(np.uint8))


# PNG's fastest level: its files are a few percent larger, and larger photos take seconds at the usual one.
_PNG = {"format": "PNG", "compress_level": 3}
KINDS: dict[str, Kind] = {
    # As JPEG, since it is a photo: PNG would take ten times the space and time.
    "overlay": Kind(".jpg", lambda p: Image.fromarray(p.overlay()), {"format": "JPEG", "quality": 92}),
    "mask": Kind(".png", lambda p: p.mask(), _PNG),
    "classes": Kind(".png", lambda p: Image.fromarray(p.classes), _PNG),
    "confidence": Kind(".png", _confidence, _PNG),
}
"""By name: the photo under the classes' colours; an indexed PNG whose palette has these colours; a grey PNG of class
numbers; a grey PNG of confidence, 255 for certain."""
LARGEST_JPEG_PX = 65_500


def chosen(names: str) -> tuple[str, ...]:
    """The kinds of a list with commas, each once.

    Raises:
      CsstError: none, or an unknown one; lists the known ones.
    """
    found = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    unknown = [name for name in found if name not in KINDS]
    if unknown or not found:
        wrong = f"no kind {unknown[0]!r}" if unknown else "nothing to write"
        raise CsstError(f"--write={names}: {wrong}; give some of {','.join(KINDS)}.")
    return found
