"""What `csst_jax.predict` writes into its output directory, and how such a directory is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csst_jax.prediction.kinds import KINDS

if TYPE_CHECKING:
    import pathlib

REQUEST_FILE, IMAGES_FILE, LEGEND_FILE = "prediction.json", "images.jsonl", "legend.png"
NAMES = (*KINDS, REQUEST_FILE, IMAGES_FILE, LEGEND_FILE)
"""Of the files and directories in an output directory."""


def owned(directory: pathlib.Path) -> list[pathlib.Path]:
    """All that the command writes into an output directory, there or not."""
    return [directory / name for name in NAMES]


def is_output(directory: pathlib.Path) -> bool:
    """Whether the command has written into a directory."""
    return all((directory / name).is_file() for name in (REQUEST_FILE, IMAGES_FILE))
