"""Class names, colours and mask values that the user gives: a list with commas, or a YAML, JSON or CSV file."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Collection, Sequence
from typing import Any

import yaml

from csst_jax.data.descriptions import palette_of
from csst_jax.types import IGNORE_LABEL, CsstError, DatasetDescription
from csst_jax.user_files import read_text
from data_prep import roboflow_classes
from data_prep.label_map import Colour, LabelMap

_VALUES = 2**31  # what a mask can hold
_KEYS = ("name", "color", "colors", "values")
_FORM = "{name: …, color: [r, g, b], values: […]} (`colors: [[r, g, b], …]` for several)."
_BRITISH = {"colour": "color", "colours": "colors"}


def read(text: str, name: str, void: Collection[int] = ()) -> tuple[DatasetDescription, LabelMap]:
    """What `--classes` says; `data_prep.folder` shows the form of the file.

    Args:
      text: names with commas, or a file.
      name: of the data set.
      void: mask values to ignore, beside those of the file and 255.

    Raises:
      CsstError: the file cannot be read or has another form, some classes have a colour or values and some not, or a
        name, a colour or a value comes twice.
    """
    path = pathlib.Path(text)
    where = f"--classes={text}"
    if os.path.isfile(os.path.expanduser(text)):  # pathlib's raises where a long list makes no file name
        content = _load(path)
    elif "," in text:
        content = [entry.strip() for entry in text.split(",")]
    elif path.suffix or os.sep in text:
        raise CsstError(f"{where}: there is no such file. Give a file, or a list with commas, like `road,car,person`.")
    else:
        raise CsstError(
            f"{where}: one class alone cannot be told apart from anything. Give a list with commas, like "
            f"`background,{text or 'crack'}`, or a file; there is no file of this name."
        )
    content = {"classes": content} if isinstance(content, list) else content
    if not isinstance(content, dict) or not isinstance(content.get("classes"), list):
        raise CsstError(
            f"{where}: expected a list of classes, such as `[road, car, person]`, or a line like `- road` "
            "for each; or `classes:` with such a list and `void:`."
        )
    entries = [{"name": entry} if isinstance(entry, str) else entry for entry in content["classes"]]
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise CsstError(f"{where}: class {entry!r}: give a name, or {_FORM}")
    entries = [_american(f"{where}: class {entry['name']!r}", entry) for entry in entries]
    for entry in entries:
        if unknown := [key for key in entry if key not in _KEYS]:
            raise CsstError(f"{where}: class {entry['name']!r}: there is no key {unknown[0]!r}. Give {_FORM}")
    ignored = content.get("void") or {}
    ignored = _american(f"{where}: void", ignored) if isinstance(ignored, dict) else ignored
    if not isinstance(ignored, dict) or set(ignored) - {"values", "colors"} or set(content) - {"classes", "void"}:
        raise CsstError(f"{where}: beside `classes:` there is `void:` alone, with `values:` and `colors:`.")

    names = [entry["name"] for entry in entries]
    _refuse_twice(where, "class name", [*names, ""] if "" in names else names)
    colours = [_colours(where, entry) for entry in entries]
    _require_all_or_none(where, entries, "color", [bool(own) for own in colours])
    values = _require_all_or_none(where, entries, "values", ["values" in entry for entry in entries])
    by_colour = [(colour, k) for k, own in enumerate(colours) for colour in own]
    by_colour += [(_colour(where, colour), IGNORE_LABEL) for colour in _list(where, ignored, "colors")]
    by_value = [
        (value, k) for k in range(len(names)) for value in (_list(where, entries[k], "values") if values else [k])
    ]
    of_file = _list(where, ignored, "values")
    by_value += [(value, IGNORE_LABEL) for value in (*of_file, *(value for value in void if value not in of_file))]
    for value, _ in by_value:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _VALUES:
            raise CsstError(f"{where}: mask value {value!r} is not a whole number from 0 to {_VALUES - 1}.")
    for kind, table in (("colour", by_colour), ("mask value", by_value)):
        _refuse_twice(where, kind, [key for key, _ in table])
    palette = tuple(own[0] for own in colours if own) or palette_of(names)
    return DatasetDescription(name, tuple(names), palette), LabelMap(
        dict(by_value), dict(by_colour) if colours[0] else {}, by_place=not values
    )


def _american(where: str, entry: dict[Any, Any]) -> dict[Any, Any]:
    """The entry with `color` for `colour`, and the same of several."""
    for british, american in _BRITISH.items():
        if british in entry and american in entry:
            raise CsstError(f"{where} has `{british}` and `{american}`; give one of them.")
    return {_BRITISH.get(key, key): value for key, value in entry.items()}


def _load(path: pathlib.Path) -> Any:
    if path.suffix.lower() == ".csv":
        return roboflow_classes.read(path)
    try:
        return yaml.safe_load(read_text(path, "classes (YAML or JSON)"))  # JSON is YAML, too
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: of a date that is none
        raise CsstError(f"{path}: unreadable file of classes ({error}); it must be YAML or JSON.") from error


def _list(where: str, entry: dict[str, Any], key: str) -> list[Any]:
    found = entry.get(key, [])
    if not isinstance(found, list):
        raise CsstError(f"{where}: {key}: {found!r} must be a list in brackets.")
    return found


def _require_all_or_none(where: str, entries: Sequence[dict[str, Any]], what: str, given: Sequence[bool]) -> bool:
    """Whether all classes have it; an error where some have and some not."""
    if any(given) and not all(given):
        odd = next(entry["name"] for entry, has in zip(entries, given, strict=True) if not has)
        raise CsstError(f"{where}: class {odd!r} has no {what} while others have; give all or none.")
    return any(given)


def _colours(where: str, entry: dict[str, Any]) -> list[Colour]:
    """Those of a class, the one for pictures first."""
    if "color" in entry and "colors" in entry:
        raise CsstError(f"{where}: class {entry['name']!r} has `color` and `colors`; give one of them.")
    given = [entry["color"]] if "color" in entry else _list(where, entry, "colors")
    if "colors" in entry and not given:
        raise CsstError(f"{where}: class {entry['name']!r}: colors is empty; give [r, g, b] once or more.")
    return [_colour(where, colour) for colour in given]


def _colour(where: str, value: Any) -> Colour:
    if isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value):
        return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)
    if not (isinstance(value, list) and len(value) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in value)):
        quotes = " YAML takes # for a comment where the quotes are missing." if value is None else ""
        raise CsstError(
            f"{where}: colour {value!r} must be three numbers from 0 to 255, like [128, 64, 128], or '#804080' in "
            f"quotes.{quotes}"
        )
    return value[0], value[1], value[2]


def _refuse_twice(where: str, kind: str, keys: Sequence[Any]) -> None:
    twice = sorted({repr(key) for key in keys if keys.count(key) > 1})
    if twice:
        raise CsstError(f"{where}: each {kind} must be given once, and not be empty: {', '.join(twice)}.")
