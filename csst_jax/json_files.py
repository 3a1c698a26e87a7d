"""JSON files that are whole or not there."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from csst_jax.types import CsstError

if TYPE_CHECKING:
    import pathlib


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file atomically: readers see the old one or the new one, whole."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def read_json(path: pathlib.Path) -> Any:
    """Reads a JSON file.

    Raises:
      CsstError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CsstError(f"cannot read {path}: {error}. Delete its directory and run the stage again.") from error
