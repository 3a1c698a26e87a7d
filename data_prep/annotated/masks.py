"""Which masks there will be: of which images and shapes, and with which classes."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Mapping, Sequence

from csst_jax.data.picture_file import Bad, upright_size
from csst_jax.data.readiness import listed
from csst_jax.data.walk import LeftOut
from csst_jax.types import IGNORE_LABEL, CsstError
from data_prep.annotated.matching import Images
from data_prep.annotated.regions import Size
from data_prep.annotated.shapes import Annotated, Annotations, Shape
from data_prep.problems import Problems

BACKGROUND = "background"
_BACKGROUNDS = (BACKGROUND, "_background_")  # LabelMe's name for it


@dataclasses.dataclass(frozen=True)
class Rule:
    """What the flags of `data_prep.annotations` say."""

    outside: str
    overlaps: str
    empty_is_background: bool
    boxes: bool
    void: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What masks there will be.

    Attributes:
      classes: names by class number.
      values: class number, or void, by label.
      outside: value of pixels that no shape has.
      masks: the image, its size, and its shapes by id.
    """

    classes: tuple[str, ...]
    values: Mapping[str, int]
    outside: int
    masks: Mapping[str, tuple[pathlib.Path, Size, tuple[Shape, ...]]]


def collect(
    files: Sequence[tuple[pathlib.Path, Annotations]],
    images: Mapping[str, pathlib.Path],
    rule: Rule,
    problems: Problems,
) -> Wanted:
    """Finds the image of each entry, and numbers the classes; tells what is left out.

    Args:
      files: what was read.
      images: by id.
      rule: what to take.
      problems: gets entries that do not fit their image.

    Raises:
      CsstError: no shape is left, or the classes are too many.
    """
    by_name, left_out = Images(images), LeftOut()
    entries: dict[str, Annotated] = {}
    boxes: list[str] = []
    for path, found in files:
        for reason, places in found.left_out.items():
            for place in places:
                left_out.add(place, reason)
        for entry in found.images:
            try:
                image_id = by_name.find(entry, path.parent)
                if image_id is None:
                    left_out.add(entry.names[0], "annotated images that are not in --images")
                    continue
                if image_id in entries:
                    raise Bad(f"{entry.where} and {entries[image_id].where}: both are {images[image_id]}. Keep one.")
                _require_size(entry, images[image_id])
            except Bad as bad:
                problems.add(str(bad))
                continue
            kept = tuple(shape for shape in entry.shapes if rule.boxes or not shape.is_box)
            boxes += [entry.names[0]] * (len(entry.shapes) - len(kept))
            entries[image_id] = dataclasses.replace(entry, shapes=kept)
    for name in boxes:
        left_out.add(name, "rectangles (--boxes fills them)")
    empty = [image_id for image_id, entry in entries.items() if not entry.shapes]
    if not rule.empty_is_background:
        for image_id in empty:
            left_out.add(image_id, "images without a shape, which get no mask (--empty=background: nothing is there)")
            del entries[image_id]
    left_out.tell("--annotations")
    problems.raise_if_any()
    if not any(entry.shapes for entry in entries.values()):
        hint = " There are rectangles alone; --boxes fills them." if boxes else ""
        raise CsstError(f"no image of --images has a shape with an area in --annotations.{hint}")
    classes, values, outside = _numbered([found for _, found in files], rule)
    wanted = {}
    for image_id in sorted(entries):
        size = upright_size(images[image_id]) or entries[image_id].size
        wanted[image_id] = (images[image_id], size, entries[image_id].shapes)
    return Wanted(classes, values, outside, wanted)


def _require_size(entry: Annotated, path: pathlib.Path) -> None:
    size = upright_size(path)
    if size is None:
        raise Bad(f"{path}: no readable image. Copy it again from its source.")
    if entry.size not in (size, (0, 0)):
        turned = " The photo is turned by its EXIF tag; annotate it upright." if entry.size == size[::-1] else ""
        raise Bad(
            f"{entry.where}: the image has {entry.size[1]}x{entry.size[0]} pixels there, and {path} has "
            f"{size[1]}x{size[0]} (width x height). Give the images that were annotated.{turned}"
        )


def _tell_alike(names: Sequence[str]) -> None:
    """Warns of labels that a reader takes for one."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault("".join(name.casefold().split()), []).append(name)
    for same in alike.values():
        if len(same) > 1:
            print(
                f"warning: --annotations: the labels {' and '.join(map(repr, same))} differ by capitals or spaces "
                "alone and are different classes. If they mean the same, give them one name in the annotation tool.",
                file=sys.stderr,
            )


def _numbered(files: Sequence[Annotations], rule: Rule) -> tuple[tuple[str, ...], dict[str, int], int]:
    names = [name for found in files for name in found.classes if name not in rule.void]
    if not any(found.ordered for found in files):
        names.sort()
    classes = list(dict.fromkeys(BACKGROUND if name in _BACKGROUNDS else name for name in names))
    if rule.outside == BACKGROUND and BACKGROUND not in classes:
        classes.insert(0, BACKGROUND)
    _tell_alike([*classes, *rule.void])
    if not 2 <= len(classes) <= IGNORE_LABEL:
        hint = " With --outside=background there is one more." if len(classes) == 1 else ""
        raise CsstError(f"--annotations: {len(classes)} classes ({listed(classes)}); 2 to 255 are needed.{hint}")
    values = {name: number for number, name in enumerate(classes)} | dict.fromkeys(rule.void, IGNORE_LABEL)
    values |= {name: values[BACKGROUND] for name in _BACKGROUNDS if BACKGROUND in values}
    return tuple(classes), values, IGNORE_LABEL if rule.outside == "void" else values[BACKGROUND]
