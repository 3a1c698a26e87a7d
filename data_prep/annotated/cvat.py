"""CVAT's XML for images, version 1.1."""

from __future__ import annotations

import math
import pathlib
from xml.etree import ElementTree

import numpy as np

from csst_jax.data.picture_file import Bad
from data_prep.annotated import regions
from data_prep.annotated.shapes import Annotated, Annotations, Shape

_SHAPES = ("polygon", "mask", "ellipse", "box")
_OTHERS = ("polyline", "points", "cuboid", "skeleton", "tag")


class OtherXml(Bad):
    """XML of something else."""


def read(path: pathlib.Path) -> Annotations:
    """Everything that a file holds.

    Raises:
      Bad: the file is damaged or of another kind.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise Bad(f"{path}: no readable XML ({error}). Export the annotations again.") from error
    if root.tag != "annotations":
        raise OtherXml(
            f"{path}: XML of <{root.tag}>, and CVAT's begins with <annotations>. Export 'CVAT for images 1.1'."
        )
    if root.find("track") is not None:
        raise Bad(f"{path}: CVAT for video, in tracks. Export 'CVAT for images 1.1' in place of it.")
    found = Annotations("CVAT")
    found.classes = [name.text or "" for name in root.findall("./meta//labels/label/name")]
    for image in root.findall("image"):
        where = f"{path}: image {_text(image, 'name', str(path))!r}"
        size = regions.checked((_whole(image, "height", where), _whole(image, "width", where)), where)
        drawn = []
        for number, element in enumerate(image):
            place = f"{where}: <{element.tag}> {number + 1}"
            if element.tag in _SHAPES:
                drawn.append(_shape(element, size, place))
            elif element.tag in _OTHERS:
                found.leave_out(f"shapes of type {element.tag}, which have no area", place)
        found.images.append(Annotated((_text(image, "name", where),), where, size, tuple(drawn)))
    used = sorted({shape.label for image in found.images for shape in image.shapes} - set(found.classes))
    found.classes += used
    return found


def _shape(element: ElementTree.Element, size: regions.Size, where: str) -> Shape:
    label, layer = _text(element, "label", where), int(_number(element, "z_order", where, "0"))
    degrees = _number(element, "rotation", where, "0")
    if element.tag == "polygon":
        return Shape(label, regions.of_outlines([_points(element, where)], size, where), layer)
    if element.tag == "mask":
        left, top = _whole(element, "left", where, 0), _whole(element, "top", where, 0)
        return Shape(label, regions.of_bitmap(_bitmap(element, where), left, top, size, where), layer)
    if element.tag == "ellipse":
        x, y, rx, ry = (_number(element, key, where) for key in ("cx", "cy", "rx", "ry"))
        return Shape(label, regions.of_ellipse(x, y, rx, ry, degrees, size, where), layer)
    left_x, top_y, right_x, bottom_y = (_number(element, key, where) for key in ("xtl", "ytl", "xbr", "ybr"))
    region = regions.of_box(left_x, top_y, right_x - left_x, bottom_y - top_y, degrees, size, where)
    return Shape(label, region, layer, is_box=True)


def _bitmap(element: ElementTree.Element, where: str) -> np.ndarray:
    """Run lengths in rows, of 0 and 1 in turn, in a rectangle of the image."""
    height, width = _whole(element, "height", where), _whole(element, "width", where)
    try:
        runs = [int(run) for run in _text(element, "rle", where).split(",")]
    except ValueError as error:
        raise Bad(f"{where}: rle={element.get('rle')!r}: no whole numbers. Export the annotations again.") from error
    if min(runs) < 0 or sum(runs) != height * width or height * width > regions.MAX_PIXELS:
        raise Bad(
            f"{where}: rle is of {sum(runs)} pixels, and the mask of {width}x{height}. Export the annotations again."
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(height, width)


def _points(element: ElementTree.Element, where: str) -> list[regions.Point]:
    text = _text(element, "points", where)
    try:
        points = [tuple(map(float, pair.split(","))) for pair in text.split(";")]
        if not all(len(point) == 2 and all(map(math.isfinite, point)) for point in points):
            raise ValueError
    except ValueError as error:
        raise Bad(f"{where}: points={text[:40]!r}: not x,y;x,y;… . Export the annotations again.") from error
    return [(point[0], point[1]) for point in points]


def _text(element: ElementTree.Element, key: str, where: str, default: str | None = None) -> str:
    value = element.get(key, default)
    if not value or not value.strip():
        raise Bad(f"{where}: {key!r} is missing. Export the annotations again.")
    return value


def _number(element: ElementTree.Element, key: str, where: str, default: str | None = None) -> float:
    text = _text(element, key, where, default)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Bad(f"{where}: {key}={text!r} must be a number. Export the annotations again.")
    return number


def _whole(element: ElementTree.Element, key: str, where: str, least: int = 1) -> int:
    number = _number(element, key, where)
    if number != int(number) or number < least:
        raise Bad(f"{where}: {key}={element.get(key)!r} must be a whole number of at least {least}.")
    return int(number)
