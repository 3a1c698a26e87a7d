"""Places to write to: looked at before hours of work, and what a disk then refuses is told with what to do about it."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
from typing import TYPE_CHECKING

from csst_jax.runtime.storage import StoragePath, as_path
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIXES = {
    errno.ENOSPC: "free space",
    errno.EDQUOT: "free space, or have the quota raised",
    errno.EROFS: "mount it for writing, or give another place",
    errno.EACCES: "fix its permissions, or give another place",
    errno.EPERM: "fix its permissions, or give another place",
    errno.EIO: "check the disk or the network mount",
    errno.ENOTDIR: "move the file that lies there, or give another place",
    errno.EISDIR: "move the directory that lies there, or give another place",
    errno.EEXIST: "move what lies there, or give another place",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "fix the symbolic link, or give another place",
}


def directory(path: str | os.PathLike[str], name: str) -> StoragePath:
    """The directory that a flag names, which need not be there yet.

    Args:
      path: as the user gave it.
      name: of the flag, for the message.

    Raises:
      CsstError: it is empty, a file, or below a file, or nothing can be written there; or see `storage.place`.
    """
    found = as_path(path, name)
    if isinstance(found, pathlib.Path):
        _require_room(found, found, name)
    return found


def file(path: str | os.PathLike[str], name: str) -> StoragePath:
    """The file that a flag names, which need not be there yet.

    Args:
      path: as the user gave it.
      name: of the flag, for the message.

    Raises:
      CsstError: it is empty, a directory, or below a file, or nothing can be written there; or see `storage.place`.
    """
    found = as_path(path, name)
    if isinstance(found, pathlib.Path):
        if found.is_dir():
            raise CsstError(f"{name}={path} is a directory; give the name of a file, such as {found / found.name}.")
        _require_room(found, found.parent, name)
    return found


def _require_room(asked_for: pathlib.Path, last: pathlib.Path, name: str) -> None:
    """Refuses a place whose nearest existing directory is none, or cannot be written to."""
    try:
        there = next(path for path in (last, *last.parents) if path.exists() or path.is_symlink())
        if not there.is_dir():
            what = "is a file" if there.is_file() else "is no directory"
            which = what if there == asked_for else f"lies below {there}, which {what}"
            raise CsstError(f"{name}={asked_for} {which}; move that, or give another {name}.")
        if not os.access(there, os.W_OK | os.X_OK):
            raise CsstError(
                f"{name}={asked_for}: nothing can be written to {there}; fix its permissions, mount it for writing, or "
                f"give another {name}."
            )
    except OSError as error:  # a name that is too long, a directory that may not be searched
        raise CsstError(f"{name}={asked_for}: {error.strerror}; give another {name}.") from error


@contextlib.contextmanager
def errors_told(output: StoragePath, goes_on: bool = False) -> Iterator[None]:
    """What a disk refuses, as an error that says what to do; everything else as it is.

    Args:
      output: what is written, where the error does not name it.
      goes_on: whether the same command goes on from what is written.

    Raises:
      CsstError: the disk is full, read-only or broken, or something else lies there.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FIXES:
            raise
        raise CsstError(
            f"{error.filename or output}: {error.strerror}; {_FIXES[error.errno]}, then run the same command again"
            f"{': it continues from the complete files' if goes_on else ''}."
        ) from error
