"""The files below a user's directory: all that are not hidden, links followed; what is passed over is told."""

from __future__ import annotations

import collections
import os
import pathlib
import sys
from collections.abc import Callable, Iterator

from csst_jax.data.readiness import listed
from csst_jax.user_files import shown


class LeftOut:
    """Files that are not used, by reason."""

    def __init__(self) -> None:
        self._names: collections.defaultdict[str, list[str]] = collections.defaultdict(list)

    def add(self, name: str, reason: str) -> None:
        """Notes a file or directory."""
        self._names[reason].append(name)

    def tell(self, where: str) -> None:
        """Says how many were left out, for which reason, and names a few."""
        for reason, names in self._names.items():
            print(f"warning: {where}: left out {len(names)}: {reason}: {listed(names)}", file=sys.stderr)


def walk(directory: pathlib.Path, left_out: LeftOut, problem: Callable[[str], None]) -> Iterator[pathlib.Path]:
    """All files below a directory that are not hidden, in order; follows links.

    Args:
      directory: where to look.
      left_out: gets what is hidden.
      problem: called with what is wrong with a link or a directory, in a sentence that names it and the fix.
    """
    return _walk(directory, directory, (), left_out, problem)


def _walk(
    top: pathlib.Path,
    directory: pathlib.Path,
    above: tuple[tuple[int, int], ...],
    left_out: LeftOut,
    problem: Callable[[str], None],
) -> Iterator[pathlib.Path]:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        stat = directory.stat()
    except OSError as error:
        problem(f"{shown(directory)}: cannot be read ({error.strerror}). Check the directory and its permissions.")
        return
    here = (*above, (stat.st_dev, stat.st_ino))
    for entry in entries:
        path = directory / entry.name
        name = shown(path.relative_to(top))
        if entry.name.startswith("."):
            left_out.add(name, "hidden")
        elif path.is_symlink() and not path.exists():
            problem(f"{shown(path)}: the link leads nowhere ({os.readlink(path)}). Restore its target or remove it.")
        elif not path.is_dir():
            yield path
        elif (path.stat().st_dev, path.stat().st_ino) in here:
            problem(f"{shown(path)}: the link leads back to a directory that it lies in. Remove it.")
        else:
            yield from _walk(top, path, here, left_out, problem)
