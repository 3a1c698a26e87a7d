"""What the page asks of the networks: what they are, and what they see in a picture."""

from __future__ import annotations

import base64
import dataclasses
import io
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from csst_jax.data.picture_file import Bad, pixels_of
from csst_jax.prediction.kinds import LARGEST_JPEG_PX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.prediction.loaded import Loaded

_QUALITY = 90
_MOST_WAITING = 4


class Busy(Exception):
    """Too many pictures wait already."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What an upload may be.

    Attributes:
      max_bytes: of the file.
      max_pixels: of the picture, which is looked at before it is decoded.
    """

    max_bytes: int
    max_pixels: int


class Networks:
    """The networks that are served; they predict one picture after another."""

    def __init__(self, networks: Sequence[tuple[str, Loaded]], limits: Limits, window_px: int = 0) -> None:
        """Takes networks with the names that the page shows."""
        self._networks = list(networks)
        self.limits, self._window_px = limits, window_px
        self._one, self._waiting = threading.Lock(), threading.BoundedSemaphore(_MOST_WAITING)

    def __len__(self) -> int:
        return len(self._networks)

    def described(self) -> dict[str, Any]:
        """Names, classes and colours of the networks, and the limits."""
        networks = [
            {"name": name, "network": net.description.network, "classes": net.shown_as[0], "palette": net.shown_as[1]}
            for name, net in self._networks
        ]
        return {"networks": networks, **dataclasses.asdict(self.limits)}

    def predict(self, number: int, data: bytes) -> dict[str, Any]:
        """What a network sees in an uploaded picture.

        Args:
          number: of the network.
          data: the file.

        Returns:
          The upright picture as a JPEG in a data URL; class and confidence (0 to 255) of each pixel, row by row, a byte
          each, in base64; width, height, shares of the classes, mean confidence, seconds.

        Raises:
          Bad: the file is no picture, or too large.
          CsstError: it does not fit the memory.
          Busy: too many pictures wait.
        """
        if not self._waiting.acquire(blocking=False):
            raise Busy
        try:
            pixels = pixels_of(data, "the picture", self.limits.max_pixels)
            if max(pixels.shape) > LARGEST_JPEG_PX:  # as which it is shown
                raise Bad(
                    f"the picture: {pixels.shape[1]}x{pixels.shape[0]} pixels; {LARGEST_JPEG_PX:,} a side are the most "
                    "that the page can show. Make it smaller, or cut it into parts."
                )
            begin = time.monotonic()
            with self._one:
                found = self._networks[number][1].predict(pixels, window_px=self._window_px)
        finally:
            self._waiting.release()
        stream = io.BytesIO()
        Image.fromarray(found.image).save(stream, "JPEG", quality=_QUALITY)
        confidence = np.rint(found.confidence * 255).astype(np.uint8)
        return {
            "width": found.classes.shape[1],
            "height": found.classes.shape[0],
            "image": f"data:image/jpeg;base64,{_text(stream.getvalue())}",
            "classes": _text(found.classes.tobytes()),
            "confidence": _text(confidence.tobytes()),
            "mean_confidence": round(float(found.confidence.mean(dtype=np.float64)), 4),
            "shares": [area["share"] for area in found.areas().values()],
            "seconds": round(time.monotonic() - begin, 3),
        }


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
