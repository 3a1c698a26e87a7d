"""Logs and pages appear whole, or not at all."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pathlib


def write(path: pathlib.Path, text: str) -> None:
    """Puts the text in place of what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def write_json(path: pathlib.Path, value: Any) -> None:
    """The same for a log."""
    write(path, json.dumps(value, indent=1) + "\n")
