"""Whether photos are so large that a crop shows little of them, in words."""

from __future__ import annotations

import pathlib
import statistics
import sys
from collections.abc import Iterable

from csst_jax.data.picture_file import upright_size

LARGE_PX = 2048
"""A longer side above this is worth a word: a crop of 320 px, the largest on a CPU, shows less than a sixth of it."""
_LOOK_AT = 100


def warning(images: Iterable[pathlib.Path]) -> str:
    """What to know of photos of this size; empty where half of them, or more, are not large.

    Args:
      images: the files, of which some at equal distances are looked at.
    """
    paths = list(images)
    sizes = [upright_size(path) for path in paths[:: -(-len(paths) // _LOOK_AT) or 1]]
    longest = statistics.median([max(size) for size in sizes if size] or [0])
    if longest <= LARGE_PX:
        return ""
    return (
        f"the images are large: their longer side is {longest:.0f} px. On a CPU, a training crop has at most 320 px. "
        "It shows a small part of such an image. --longest_side=1024 makes images and masks smaller, and predict then "
        "does the same with new photos."
    )


def tell(images: Iterable[pathlib.Path]) -> None:
    """Says it on standard error, if there is something to say."""
    if said := warning(images):
        print(f"warning: {said}", file=sys.stderr)
