"""The list of classes that Roboflow puts beside its masks: `_classes.csv`."""

from __future__ import annotations

import csv
import pathlib
from typing import Any

from csst_jax.types import CsstError
from csst_jax.user_files import read_text


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """Names and mask values, as `data_prep.classes` takes them.

    Raises:
      CsstError: the file cannot be read, or is another one.
    """
    rows = [[cell.strip() for cell in row] for row in csv.reader(read_text(path, "classes").splitlines()) if row]
    if not rows or rows[0] != ["Pixel Value", "Class"] or not all(len(r) == 2 and r[0].isdecimal() for r in rows[1:]):
        raise CsstError(f"{path}: expected Roboflow's lines, such as `Pixel Value, Class` and `0, background`.")
    return [{"name": name, "values": [int(value)]} for value, name in rows[1:]]
