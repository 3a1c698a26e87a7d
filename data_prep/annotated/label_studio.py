"""Label Studio's JSON export: polygons, brushes, ellipses and rectangles of images."""

from __future__ import annotations

import pathlib
import re
import urllib.parse

from csst_jax.data.picture_file import IMAGE_SUFFIXES, Bad
from csst_jax.data.readiness import listed
from data_prep.annotated import packed, regions
from data_prep.annotated.shapes import Annotated, Annotations, Shape
from data_prep.annotated.values import Value

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts in front of the names of uploaded files


def is_it(content: Value) -> bool:
    """Whether a JSON file has this format, or that of JSON-MIN, which is refused."""
    first = content.value[0] if isinstance(content.value, list) and content.value else None
    return isinstance(first, dict) and ("data" in first or "annotator" in first or "annotation_id" in first)


def read(content: Value) -> Annotations:
    """Everything that a file holds; its classes are those that are drawn, in the order of the alphabet.

    Raises:
      Bad: the file is damaged or of another kind.
    """
    found = Annotations("Label Studio", ordered=False)
    for task in content.entries():
        if task.get("data") is None:
            raise Bad(f"{task.where}: no 'data'. Is it JSON-MIN? Export JSON in place of it.")
        annotation = _chosen(task, found)
        if annotation is not None:
            drawn, size = _drawn(annotation, found)
            names, uploaded = _names(task, annotation)
            if size:
                found.images.append(Annotated(names, task.where, size, tuple(drawn), uploaded))
            else:  # nothing is drawn, so the size is not known either; 0 is any
                found.images.append(Annotated(names, task.where, (0, 0), (), uploaded))
    found.classes = sorted({shape.label for image in found.images for shape in image.shapes})
    return found


def _chosen(task: Value, found: Annotations) -> Value | None:
    """Of a task's annotations the one that is marked as ground truth, else the last one."""
    given = task.get("annotations") or task.get("completions")
    every = given.entries() if given else []
    if numbers := [one for one in every if isinstance(one.value, int)]:
        raise Bad(
            f"{numbers[0].where} is {numbers[0].value}, the number of an annotation and not the annotation. Export "
            "JSON with Label Studio's Export button."
        )
    done = [one for one in every if not one.fields().get("was_cancelled")]
    if not done:
        found.leave_out("tasks without a finished annotation", task.where)
        return None
    if len(done) > 1:
        found.leave_out("tasks with several annotations, of which one counts (ground truth, or the last)", task.where)
    return next((one for one in done if one.fields().get("ground_truth")), done[-1])


def _drawn(annotation: Value, found: Annotations) -> tuple[list[Shape], regions.Size | None]:
    found_by_id: dict[str, list[Value]] = {}  # a region and its label can be two entries with one id
    for number, entry in enumerate(annotation["result"].entries()):
        name = entry.get("id")
        found_by_id.setdefault(str(name.value) if name else f"entry {number}", []).append(entry)
    drawn, size = [], None
    for entries in found_by_id.values():
        entry = next((one for one in entries if "original_width" in one.fields()), entries[0])
        values = [item for one in entries if (value := one.get("value")) for item in value.fields().items()]
        label = next((value for key, value in values if key.endswith("labels") and value), None)
        region = entry.get("value")
        if region is None or "original_width" not in entry.fields() or label is None:
            found.leave_out("results that are no labelled region", entry.where)
            continue
        size = regions.checked((entry["original_height"].whole(1), entry["original_width"].whole(1)), entry.where)
        if (rotation := entry.get("image_rotation")) and rotation.number() % 360:
            raise Bad(f"{rotation.where} is {rotation.value}: the image was turned in the tool. Turn it back.")
        shape = _shape(region, Value(label, entry.where).entries()[0].text(), size)
        if shape:
            drawn.append(shape)
        else:
            found.leave_out("results without an area", entry.where)
    return drawn, size


def _shape(region: Value, label: str, size: regions.Size) -> Shape | None:
    height, width = size
    if outline := region.get("points"):
        points = [point.numbers() for point in outline.entries()]
        if any(len(point) != 2 for point in points):
            raise Bad(f"{outline.where}: a point is x and y. Draw the polygon again.")
        pixels = [(x * width / 100, y * height / 100) for x, y in points]
        return Shape(label, regions.of_outlines([pixels], size, outline.where))
    if runs := region.get("rle"):
        alpha = packed.of_brush(bytes(_bytes(runs)), runs.where)
        if alpha.size != 4 * height * width:
            raise Bad(f"{runs.where}: {alpha.size} values, not 4 for each of {width}x{height} pixels. Export it again.")
        return Shape(label, regions.of_bitmap(alpha[3::4].reshape(size) > 0, 0, 0, size, runs.where))
    degrees = angle.number() if (angle := region.get("rotation")) else 0.0
    if region.get("radiusX"):
        x, rx = (region[key].number() * width / 100 for key in ("x", "radiusX"))
        y, ry = (region[key].number() * height / 100 for key in ("y", "radiusY"))
        return Shape(label, regions.of_ellipse(x, y, rx, ry, degrees, size, region.where))
    if region.get("width") and region.get("height"):
        x, w = (region[key].number() * width / 100 for key in ("x", "width"))
        y, h = (region[key].number() * height / 100 for key in ("y", "height"))
        corners = regions.turned([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], (x, y), degrees)
        return Shape(label, regions.of_outlines([corners], size, region.where), is_box=True)
    return None


def _bytes(runs: Value) -> list[int]:
    numbers = [number.whole() for number in runs.entries()]
    if numbers and max(numbers) > 255:
        raise Bad(f"{runs.where}: {max(numbers)} is no byte. Export the annotations again.")
    return numbers


def _names(task: Value, annotation: Value) -> tuple[tuple[str, ...], str]:
    """What a task calls its image, and the name of an uploaded file without the tool's own beginning."""
    texts = {key: value for key, value in task["data"].fields().items() if isinstance(value, str)}
    found = {key: paths for key, value in texts.items() if (paths := _image_paths(value))}
    if not found:
        raise Bad(
            f"{task.where}.data: no image in {', '.join(texts.values())[:80] or 'it'}. Is it a task about images?"
        )
    regions_of = {
        str(entry["to_name"].value)
        for entry in annotation["result"].entries()
        if "original_width" in entry.fields() and entry.get("to_name")
    }
    if len(found) > 1 and regions_of:
        if len(regions_of) > 1 or not regions_of <= set(found):
            raise Bad(
                f"{task.where}: the task has {len(found)} images ({listed(found)}), and its regions are of "
                f"{listed(sorted(regions_of))} (to_name), so that nobody knows which image each one is of. Keep one "
                "image in the task's data, and the regions of that image alone."
            )
        found = {key: found[key] for key in regions_of}
    paths = [path for own in found.values() for path in own]
    uploaded = [path for path in paths if "upload" in pathlib.PurePosixPath(path).parts[:-1]]
    files = [pathlib.PurePosixPath(path).name for path in uploaded]
    return tuple(dict.fromkeys([*paths, *files])), _UPLOADED.sub("", files[0]) if files else ""


def _image_paths(text: str) -> list[str]:
    """The paths of an image in an address; none where it is of something else."""
    address = urllib.parse.urlsplit(text)
    local = urllib.parse.parse_qs(address.query).get("d", [])
    paths = [*local, urllib.parse.unquote(address.path)]
    return [path for path in paths if pathlib.PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES]
