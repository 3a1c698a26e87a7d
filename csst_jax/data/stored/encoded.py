"""Images and labels as they are stored: PNG, JPEG, or tiles (`tiles.py`), told apart by their first bytes."""

from __future__ import annotations

import io
import warnings

import cv2
import numpy as np
from PIL import Image

from csst_jax.data.stored import tiles
from csst_jax.data.stored.tiles import Window
from csst_jax.types import CsstError

# Preparation has checked sizes. Pillow would warn of every image of more than 89 million pixels, at every read.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def size(encoded: bytes) -> tuple[int, int]:
    """(height, width) from the header, without decoding.

    Raises:
      CsstError: the header is damaged.
    """
    if encoded[:4] == tiles.MAGIC:
        return tiles.size(encoded)
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
            return image.height, image.width
    except Exception as error:  # a damaged file can make Pillow raise anything
        raise CsstError(f"neither PNG nor JPEG nor tiles, or damaged ({len(encoded)} bytes; {error}).") from error


def decode_rgb(encoded: bytes, window: Window | None = None) -> np.ndarray:
    """uint8 [h, w, 3]: the pixels of `window`, or all of them.

    Raises:
      CsstError: the bytes are damaged.
    """
    if encoded[:4] == tiles.MAGIC:
        return tiles.decode(encoded, window)
    # Without the flag JPEGs would be turned as their EXIF says; preparation has turned those already.
    return _cut(_decode(encoded, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION), window)


def decode_label(encoded: bytes, window: Window | None = None) -> np.ndarray:
    """uint8 [h, w] from a stored label: class indices, 255 = void; the pixels of `window`, or all of them.

    From a soft label uint8 [n, h, w]: the class indices first; see `csst_jax.data.stored.soft_labels`.

    Raises:
      CsstError: the bytes are damaged.
    """
    if encoded[:4] == tiles.MAGIC:
        return tiles.decode(encoded, window)
    return _cut(_decode(encoded, cv2.IMREAD_UNCHANGED), window)


def encode_label(label: np.ndarray) -> bytes:
    """A uint8 [h, w] label map as it is stored: tiles, or PNG where one tile would hold all of it."""
    if max(label.shape) > tiles.TILE_PX:
        return tiles.encode(label)
    buffer = io.BytesIO()
    Image.fromarray(label).save(buffer, "PNG")
    return buffer.getvalue()


def _decode(encoded: bytes, flags: int) -> np.ndarray:
    try:
        array = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags) if encoded else None
    except cv2.error as error:  # what it says, of sizes beyond its limits for instance
        raise CsstError(f"cannot be decoded ({len(encoded)} bytes; {str(error).strip()}).") from error
    if array is None:
        raise CsstError(f"neither PNG nor JPEG nor tiles, or damaged ({len(encoded)} bytes).")
    return array


def _cut(array: np.ndarray, window: Window | None) -> np.ndarray:
    if window is None:
        return array
    return array[window.top : window.top + window.height, window.left : window.left + window.width]
