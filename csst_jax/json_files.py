"""JSON files that are whole or not there."""

from __future__ import annotations

import json
from typing import Any

from csst_jax.storage import Place, replacing
from csst_jax.types import CsstError


def write_json(path: Place, value: Any) -> None:
    """Writes a JSON file atomically: readers see the old one or the new one, whole."""
    with replacing(path) as made:
        made.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Place) -> Any:
    """Reads a JSON file.

    Raises:
      CsstError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CsstError(f"cannot read {path}: {error}. Delete its directory and run the stage again.") from error
