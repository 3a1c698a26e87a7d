"""Large photos, made smaller: when a data set is prepared, and again when its network predicts a photo."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image


def smaller(size: tuple[int, int], longest_side: int) -> tuple[int, int]:
    """The size that an image gets, its sides in any order; `longest_side` is in pixels, and 0 leaves all as they are.

    >>> smaller((4032, 3024), 1024)
    (1024, 768)
    >>> smaller((640, 480), 1024)
    (640, 480)
    """
    longest = max(size)
    if not longest_side or longest <= longest_side:
        return size
    first, second = (max(1, round(side * longest_side / longest)) for side in size)
    return first, second


def shrunk(picture: Image.Image, longest_side: int) -> Image.Image:
    """An RGB picture, filtered where it gets smaller; the same one if it is small enough."""
    size = smaller(picture.size, longest_side)
    return picture if size == picture.size else picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def shrunk_pixels(pixels: UInt8[np.ndarray, "h w 3"], longest_side: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """`shrunk` of an array."""
    return np.asarray(shrunk(Image.fromarray(pixels), longest_side))


def nearest(classes: UInt8[np.ndarray, "h w"], size: tuple[int, int]) -> UInt8[np.ndarray, "h2 w2"]:
    """A map of class numbers at another (height, width): each pixel is the nearest one, as numbers have no mean."""
    return np.asarray(Image.fromarray(classes).resize(size[::-1], Image.Resampling.NEAREST))


def interpolated(values: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "h2 w2"]:
    """float32 values at another (height, width), bilinearly."""
    return np.asarray(Image.fromarray(values).resize(size[::-1], Image.Resampling.BILINEAR))
