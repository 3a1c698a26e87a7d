"""Writes masks and the list of classes, and says what they hold."""

from __future__ import annotations

import collections
import dataclasses
import io
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
import yaml
from PIL import Image

from csst_jax.data.descriptions import distinct_palette
from csst_jax.data.readiness import listed
from csst_jax.runtime.storage import replacing
from csst_jax.types import IGNORE_LABEL
from csst_jax.user_files import same_name, shown
from data_prep.annotated import shapes
from data_prep.annotated.masks import Rule, Wanted
from data_prep.problems import Problems

CLASSES_FILE = "classes.yaml"


@dataclasses.dataclass
class Made:
    """What was written.

    Attributes:
      directory: where.
      wanted: what for.
      changed: how many masks are new or other ones than before.
      pixels: of each value.
      disputed: pixels that lie in shapes of different classes.
      overlaps: which of them counts.
      classes_before: those of the masks that were there; none where there was no list.
    """

    directory: pathlib.Path
    wanted: Wanted
    changed: int
    pixels: np.ndarray
    disputed: int
    overlaps: str
    classes_before: list[str]

    def lines(self) -> list[str]:
        """A table of the classes, and what to know of the whole."""
        all_shapes = [(i, shape) for i, (_, _, drawn) in self.wanted.masks.items() for shape in drawn]
        count = collections.Counter(self.wanted.values[shape.label] for _, shape in all_shapes)
        column, total = max(map(len, (*self.wanted.classes, "(void)"))), max(int(self.pixels.sum()), 1)
        lines = [f"{self.directory}: {len(self.wanted.masks)} masks, {self.changed} of them new or changed"]
        lines.append(f"  {'class':{column}}  number  shapes  pixels %")
        rows = [*enumerate(self.wanted.classes)] + [(IGNORE_LABEL, "(void)")] * bool(self.pixels[IGNORE_LABEL])
        for value, name in rows:
            lines.append(f"  {name:{column}}  {value:6d}  {count[value]:6d}  {100 * self.pixels[value] / total:8.2f}")
        if self.classes_before and self.classes_before != [*self.wanted.classes]:
            lines.append(f"  the classes were {', '.join(self.classes_before)}")
        if self.disputed:
            rule = {"smaller": "the smallest", "later": "the last in the file"}[self.overlaps]
            lines.append(
                f"  {100 * self.disputed / total:.2f} % of the pixels lie in shapes of several classes; {rule} counts"
            )
        return lines


def write(wanted: Wanted, directory: pathlib.Path, rule: Rule, overwrite: bool, problems: Problems) -> Made:
    """Writes masks that are not there yet, and the classes; leaves files that hold the same as they are.

    Args:
      wanted: what to write.
      directory: where.
      rule: which shape counts.
      overwrite: whether masks that differ, and a list of classes that somebody edited, give way.
      problems: gets masks that differ, else, masks of other classes, and an edited list of others; nothing is written
        then.
    """
    before = _classes_there(directory / CLASSES_FILE)
    _look_at_others(wanted, directory, problems)
    colours = [channel for colour in distinct_palette(len(wanted.classes)) for channel in colour]
    colours += [0] * (3 * 256 - len(colours))  # of a shorter palette Pillow would store fewer bits, and void needs 8
    pixels, disputed, changed, others = np.zeros(256, np.int64), 0, {}, list[pathlib.Path]()
    for image_id, (_, size, drawn) in wanted.masks.items():
        label, count = shapes.draw(drawn, wanted.values, size, wanted.outside, rule.overlaps == "smaller")
        disputed, pixels = disputed + count, pixels + np.bincount(label.ravel(), minlength=256)
        path = directory / f"{image_id}.png"
        if (there := _there(path)) is None or not np.array_equal(there, label):
            if there is not None and not overwrite:
                others.append(path)
            picture, stream = Image.fromarray(label), io.BytesIO()
            picture.putpalette(colours)
            picture.save(stream, "PNG")
            changed[path] = stream.getvalue()
    if others and before and before != [*wanted.classes[: len(before)]]:
        problems.add(
            f"{directory}: the classes were {', '.join(before)} and are now {', '.join(wanted.classes)}, so class "
            f"numbers in the masks change. Give --overwrite to replace those that differ ({len(others)} of "
            f"{len(wanted.masks)}), or other --masks."
        )
    else:
        for path in others:
            problems.add(f"{path}: another mask is there. Give --overwrite to replace it, or other --masks.")
    classes_file = directory / CLASSES_FILE
    classes_change = before != [*wanted.classes]
    if classes_change and not overwrite and _is_edited(classes_file):
        problems.add(
            f"{classes_file}: somebody has edited it, and the classes are now {', '.join(wanted.classes)}. Save yours "
            "under another name, and give that as --classes of data_prep.folder. Or give --overwrite to replace it."
        )
    problems.raise_if_any()
    written = changed | ({classes_file: _as_text(wanted.classes)} if classes_change else {})
    for path, data in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as made:
            made.write_bytes(data)
    return Made(directory, wanted, len(changed), pixels, disputed, rule.overlaps, before)


def _look_at_others(wanted: Wanted, directory: pathlib.Path, problems: Problems) -> None:
    """Refuses masks that stay there and mean other classes, and names those that stay."""
    found = (path.relative_to(directory) for path in directory.rglob("*.png"))
    seen = (path for path in found if not any(part.startswith(".") for part in path.parts))
    files = {same_name(path.with_suffix("").as_posix()) for path in seen}
    if not (others := sorted(files - {same_name(image_id) for image_id in wanted.masks})):
        return
    classes, names = _classes_there(directory / CLASSES_FILE), listed(shown(name) for name in others)
    if classes != list(wanted.classes[: len(classes)]):
        problems.add(
            f"{directory} has masks of images that are not in --annotations: {names}. Their classes are "
            f"{', '.join(classes)}; the classes are now {', '.join(wanted.classes)}. Give the annotations of all "
            "images together, or other --masks."
        )
        return
    print(
        f"warning: {directory} keeps masks of images that have no shape in --annotations: {names}. Delete those that "
        "you do not want.",
        file=sys.stderr,
    )


def _classes_there(path: pathlib.Path) -> list[str]:
    """The names that are there; none where there is no list that can be read."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return []
    classes = found.get("classes") if isinstance(found, dict) else None
    entries = classes if isinstance(classes, list) else []
    return [str(entry.get("name") if isinstance(entry, dict) else entry) for entry in entries]


def _as_text(classes: Sequence[str]) -> bytes:
    return yaml.safe_dump({"classes": [*classes]}, allow_unicode=True, sort_keys=False).encode()


def _is_edited(path: pathlib.Path) -> bool:
    """Whether a list of classes is there that no earlier command has left so."""
    return path.exists() and path.read_bytes() != _as_text(_classes_there(path))


def _there(path: pathlib.Path) -> np.ndarray | None:
    """The mask that is there; one that cannot be read is another one."""
    if not path.exists():
        return None
    try:
        with Image.open(path) as picture:
            return np.asarray(picture)
    except Exception:  # a damaged file can make Pillow raise anything
        return np.zeros(0)
