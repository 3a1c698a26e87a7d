"""COCO's JSON of instances: polygons and run lengths; Roboflow, CVAT, Label Studio and others export it too."""

from __future__ import annotations

from csst_jax.data.picture_file import Bad
from data_prep.annotated import packed, regions
from data_prep.annotated.shapes import Annotated, Annotations, Shape
from data_prep.annotated.values import Value

_LEAST_NUMBERS = 6  # x and y of three points


def is_it(content: Value) -> bool:
    """Whether a JSON file has this format."""
    return isinstance(content.value, dict) and {"images", "categories"} <= content.value.keys()


def read(content: Value) -> Annotations:
    """Everything that a file holds.

    Raises:
      Bad: the file is damaged or of another kind.
    """
    found = Annotations("COCO")
    entries = content["annotations"].entries()
    if any(isinstance(entry.value, dict) and "segments_info" in entry.value for entry in entries[:1]):
        raise Bad(f"{content.where}: COCO panoptic, whose masks are pictures. Export COCO instance segmentation.")
    labels = _labels(content, {entry["category_id"].number_or_text() for entry in entries})
    found.classes = list(dict.fromkeys(labels.values()))
    images: dict[object, tuple[str, str, regions.Size]] = {}
    for image in content["images"].entries():
        size = regions.checked((image["height"].whole(1), image["width"].whole(1)), image.where)
        number = image["id"].number_or_text()
        if number in images:
            raise Bad(f"{image['id'].where}: {number!r} is another image's id, too. Export the annotations again.")
        images[number] = (image["file_name"].text(), image.where, size)
    drawn: dict[object, list[Shape]] = {number: [] for number in images}
    for entry in entries:
        number, label = entry["image_id"].number_or_text(), labels.get(entry["category_id"].number_or_text())
        if number not in images:
            raise Bad(f"{entry['image_id'].where}: {number!r} is none of the images. Export the annotations again.")
        if label is None:
            raise Bad(
                f"{entry['category_id'].where}: {entry['category_id'].value!r} is none of the categories. Export the "
                "annotations again."
            )
        if shape := _shape(entry, label, images[number][2], found):
            drawn[number].append(shape)
    found.images = [
        Annotated((name,), where, size, tuple(drawn[number])) for number, (name, where, size) in images.items()
    ]
    return found


def _labels(content: Value, used: set[object]) -> dict[object, str]:
    """Names of the classes by number; without the heading that Roboflow puts above its classes."""
    entries = content["categories"].entries()
    headings = {name for entry in entries if isinstance(name := entry.fields().get("supercategory"), str)}
    labels: dict[object, str] = {}
    for entry in entries:
        number, name = entry["id"].number_or_text(), entry["name"].text()
        if number in labels:
            raise Bad(f"{entry['id'].where}: {number!r} is another category's id, too. Export the annotations again.")
        if not (entry.fields().get("supercategory") == "none" and name in headings and number not in used):
            labels[number] = name
    return labels


def _shape(entry: Value, label: str, size: regions.Size, found: Annotations) -> Shape | None:
    """What an annotation outlines. Programs that trace masks leave outlines of a point or two: no area, so left out."""
    outline = entry.get("segmentation")
    if outline is not None and isinstance(outline.value, dict):
        counts = outline["counts"]
        if [side.whole(1) for side in outline["size"].entries()] != list(size):
            raise Bad(
                f"{outline['size'].where} is {outline['size'].value} and the image has [{size[0]}, {size[1]}]. Export "
                "the annotations again."
            )
        is_text = isinstance(counts.value, str)
        runs = packed.of_text(counts.value, counts.where) if is_text else [run.whole() for run in counts.entries()]
        return Shape(label, regions.of_runs(runs, size, counts.where))
    if outline is not None and outline.value:
        polygons = []
        for part in map(_even, outline.entries()):
            numbers = part.numbers()
            if len(numbers) < _LEAST_NUMBERS:
                found.leave_out("outlines of fewer than 3 points, which have no area", part.where)
            else:
                polygons.append(list(zip(*[iter(numbers)] * 2, strict=True)))
        return Shape(label, regions.of_outlines(polygons, size, outline.where)) if polygons else None
    box = entry.get("bbox")
    if box is None or len(box.numbers()) != 4:
        found.leave_out("annotations without an outline", entry.where)
        return None
    x, y, width, height = box.numbers()
    return Shape(label, regions.of_box(x, y, width, height, 0, size, box.where), is_box=True)


def _even(part: Value) -> Value:
    if len(part.entries()) % 2:
        raise Bad(f"{part.where}: {len(part.entries())} numbers; x and y of each point are two. Draw it again.")
    return part
