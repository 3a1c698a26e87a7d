"""Outlines and run lengths of annotation tools as regions of pixels.

Outlines become pixels by the rule of pycocotools, the reference of COCO, whatever the tool.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from csst_jax.data.picture_file import Bad
from csst_jax.types import CsstError

MAX_PIXELS = 178_956_970  # as many as an image may have (csst_jax/data/picture_file.py)
_CORNERS_OF_ELLIPSE = 180

Size = tuple[int, int]
"""Height and width in pixels."""
Region = dict[str, Any]
"""Run lengths in pycocotools' form."""
Point = tuple[float, float]
"""x and y in pixels; the middle of the first pixel is at (0.5, 0.5)."""


def require_pycocotools() -> Any:
    """The module `pycocotools.mask`.

    Raises:
      CsstError: it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise CsstError(
            "making masks of annotations needs pycocotools: python -m pip install pycocotools "
            "(requirements-annotations.txt)."
        ) from error
    return mask


def checked(size: Size, where: str) -> Size:
    """A size that a file gives.

    Raises:
      Bad: no image may be that large.
    """
    if size[0] * size[1] > MAX_PIXELS:
        raise Bad(f"{where}: {size[1]}x{size[0]} pixels; {MAX_PIXELS:,} are the most that is read.")
    return size


def of_outlines(outlines: Sequence[Sequence[Point]], size: Size, where: str) -> Region:
    """The pixels inside any of some polygons.

    Raises:
      Bad: one has fewer than three points, or nothing of them lies in the image.
    """
    mask = require_pycocotools()
    for outline in outlines:
        if len(outline) < 3:
            raise Bad(f"{where}: a polygon of {len(outline)} points; it needs 3. Delete it or draw it again.")
    flat = [[float(value) for point in outline for value in point] for outline in outlines]
    region: Region = mask.merge(mask.frPyObjects(flat, *size))
    return region


def of_box(x: float, y: float, width: float, height: float, degrees: float, size: Size, where: str) -> Region:
    """The pixels of a rectangle, which is turned clockwise around its middle."""
    middle = (x + width / 2, y + height / 2)
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    return of_outlines([turned(corners, middle, degrees)], size, where)


def of_ellipse(x: float, y: float, rx: float, ry: float, degrees: float, size: Size, where: str) -> Region:
    """The pixels of an ellipse with its middle at (x, y), which is turned clockwise around it."""
    angles = [2 * math.pi * corner / _CORNERS_OF_ELLIPSE for corner in range(_CORNERS_OF_ELLIPSE)]
    outline = [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]
    return of_outlines([turned(outline, (x, y), degrees)], size, where)


def turned(outline: Sequence[Point], around: Point, degrees: float) -> list[Point]:
    """A polygon, turned clockwise (y points down)."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    moved = [(x - around[0], y - around[1]) for x, y in outline]
    return [(around[0] + x * cos - y * sin, around[1] + x * sin + y * cos) for x, y in moved]


def of_bitmap(bitmap: np.ndarray, left: int, top: int, size: Size, where: str) -> Region:
    """The pixels of a bitmap, bool [h, w], that lies somewhere in the image.

    Raises:
      Bad: it does not lie in the image.
    """
    height, width = bitmap.shape
    if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
        raise Bad(
            f"{where}: a mask of {width}x{height} pixels at ({left}, {top}) reaches out of the image, which has "
            f"{size[1]}x{size[0]} pixels. Export the annotations again."
        )
    whole = np.zeros(size, np.uint8, order="F")
    whole[top : top + height, left : left + width] = bitmap
    region: Region = require_pycocotools().encode(whole)
    return region


def of_runs(runs: Sequence[int], size: Size, where: str) -> Region:
    """The pixels of run lengths in columns, of 0 and 1 in turn.

    Raises:
      Bad: they are not those of an image of this size.
    """
    mask = require_pycocotools()
    # The library checks it too late: what run lengths leave out would be whatever lies in the memory.
    if min(runs, default=-1) < 0 or sum(runs) != size[0] * size[1]:
        raise Bad(
            f"{where}: run lengths of {sum(runs)} pixels for an image of {size[1]}x{size[0]}. Export the annotations "
            "again."
        )
    region: Region = mask.frPyObjects({"size": list(size), "counts": list(runs)}, *size)
    return region


def area(region: Region) -> int:
    """Its number of pixels."""
    return int(require_pycocotools().area(region))
