"""Every file below a directory: used, or counted and named with the reason."""

from __future__ import annotations

import collections
import os
import pathlib
import sys
from collections.abc import Callable, Iterator

from csst_jax.data.readiness import listed
from csst_jax.user_files import same_name, shown, user_path
from data_prep import raw
from data_prep.problems import Problems


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


Judge = Callable[[pathlib.Path], str | None]
"""Says of a file "" to take it, the reason to leave it out, or None where it is used elsewhere; raises `Bad`."""


def find_files(
    directory: pathlib.Path, flag: str, judge: Judge, problems: Problems, ending: str = ""
) -> dict[str, pathlib.Path]:
    """Files below `directory` by id: the relative path without its suffix, in composed Unicode.

    Linked files and directories count as if they lay there; hidden ones do not. What is left out is told.

    Args:
      directory: where to look.
      flag: what the user gave the directory with.
      judge: which files count.
      problems: gets what cannot be told apart or read.
      ending: what names have behind the id.

    Raises:
      CsstError: `directory` is not one.
    """
    raw.directory(directory, flag=flag)
    top = user_path(directory)
    files: dict[str, pathlib.Path] = {}
    left_out = LeftOut()
    for path in walk(top, left_out, problems):
        name = path.relative_to(top)
        try:
            reason = judge(path)
        except raw.Bad as bad:
            problems.add(str(bad))
            continue
        if reason:
            left_out.add(shown(name), reason)
        if reason != "":
            continue
        image_id = same_name(name.with_suffix("").as_posix()).removesuffix(ending)
        if image_id in files:
            problems.add(f"duplicate id {image_id!r}: {files[image_id]} and {path}; keep one.")
        files[image_id] = path
    left_out.tell(f"{flag}={directory}")
    return files


def walk(directory: pathlib.Path, left_out: LeftOut, problems: Problems) -> Iterator[pathlib.Path]:
    """All files below a directory that are not hidden, in order; follows links."""
    return _walk(directory, directory, (), left_out, problems)


def _walk(
    top: pathlib.Path,
    directory: pathlib.Path,
    above: tuple[tuple[int, int], ...],
    left_out: LeftOut,
    problems: Problems,
) -> Iterator[pathlib.Path]:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        stat = directory.stat()
    except OSError as error:
        problems.add(f"{shown(directory)}: cannot be read ({error.strerror}). Check the directory and its permissions.")
        return
    here = (*above, (stat.st_dev, stat.st_ino))
    for entry in entries:
        path = directory / entry.name
        name = shown(path.relative_to(top))
        if entry.name.startswith("."):
            left_out.add(name, "hidden")
        elif path.is_symlink() and not path.exists():
            problems.add(
                f"{shown(path)}: the link leads nowhere ({os.readlink(path)}). Restore its target or remove it."
            )
        elif not path.is_dir():
            yield path
        elif (path.stat().st_dev, path.stat().st_ino) in here:
            problems.add(f"{shown(path)}: the link leads back to a directory that it lies in. Remove it.")
        else:
            yield from _walk(top, path, here, left_out, problems)
