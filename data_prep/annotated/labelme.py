"""LabelMe's JSON, a file for each image."""

from __future__ import annotations

import base64
import io
import math
import pathlib

import numpy as np
from PIL import Image

from csst_jax.data.picture_file import Bad
from data_prep.annotated import regions
from data_prep.annotated.shapes import Annotated, Annotations, Shape
from data_prep.annotated.values import Value


def is_it(content: Value) -> bool:
    """Whether a JSON file has this format."""
    return isinstance(content.value, dict) and {"shapes", "imagePath"} <= content.value.keys()


def read(content: Value, path: pathlib.Path) -> Annotations:
    """Everything that a file holds; its classes are those that are drawn, in the order of the alphabet.

    Raises:
      Bad: the file is damaged.
    """
    found = Annotations("LabelMe", ordered=False)
    size = regions.checked((content["imageHeight"].whole(1), content["imageWidth"].whole(1)), content.where)
    drawn = []
    for entry in content["shapes"].entries():
        kind = entry.get("shape_type")
        name = kind.text() if kind else "polygon"
        shape = _shape(entry, name, size)
        if shape:
            drawn.append(shape)
        else:
            found.leave_out(f"shapes of type {name}, which have no area", entry.where)
    names = (content["imagePath"].text().replace("\\", "/"), path.stem)
    found.images = [Annotated(names, str(path), size, tuple(drawn))]
    found.classes = sorted({shape.label for shape in drawn})
    return found


def _shape(entry: Value, kind: str, size: regions.Size) -> Shape | None:
    label = entry["label"].text()
    points = [_point(point) for point in entry["points"].entries()]
    where = entry["points"].where
    if kind == "polygon":
        return Shape(label, regions.of_outlines([points], size, where))
    if kind not in ("rectangle", "circle", "mask"):
        return None
    if len(points) != 2:
        raise Bad(f"{where}: {len(points)} points; a {kind} has 2. Delete the shape or draw it again.")
    (x0, y0), (x1, y1) = points
    if kind == "circle":
        radius = math.hypot(x1 - x0, y1 - y0)
        return Shape(label, regions.of_ellipse(x0, y0, radius, radius, 0, size, where))
    if kind == "rectangle":
        left, top = min(x0, x1), min(y0, y1)
        return Shape(label, regions.of_box(left, top, abs(x1 - x0), abs(y1 - y0), 0, size, where), is_box=True)
    bitmap = _bitmap(entry["mask"])
    return Shape(label, regions.of_bitmap(bitmap, round(x0), round(y0), size, entry["mask"].where))


def _point(point: Value) -> regions.Point:
    numbers = point.numbers()
    if len(numbers) != 2:
        raise Bad(f"{point.where}: {len(numbers)} numbers; a point is x and y. Draw the shape again.")
    return numbers[0], numbers[1]


def _bitmap(mask: Value) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(base64.b64decode(mask.text())), formats=("PNG",)) as picture:
            return np.asarray(picture.convert("L")) > 0
    except Bad:
        raise
    except Exception as error:  # a damaged picture can make Pillow raise anything
        raise Bad(f"{mask.where}: no readable PNG ({error}). Open the file in LabelMe and save it again.") from error
