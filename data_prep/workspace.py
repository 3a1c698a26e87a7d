"""Where a preparation works until it is done: all or nothing, one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
from collections.abc import Iterator

from csst_jax.types import CsstError


@contextlib.contextmanager
def exclusive(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives an empty directory beside `directory` (so on the same file system) and removes it at the end.

    Its name starts with a dot, so that nothing takes it for finished. The lock dies with its process: a killed
    preparation blocks nobody, and the next one removes what it left.

    Raises:
      CsstError: another process is preparing `directory`.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    workspace = directory.parent / f".unfinished-{directory.name}"
    with open(directory.parent / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CsstError(f"another process is preparing {directory}; wait for it, or stop it.") from None
        shutil.rmtree(workspace, ignore_errors=True)  # a killed preparation's
        try:
            workspace.mkdir()
            yield workspace
        finally:
            shutil.rmtree(workspace, ignore_errors=True)


def put_in_place(made: pathlib.Path, directory: pathlib.Path, workspace: pathlib.Path) -> None:
    """Moves `made` to `directory`; what was there before goes to `workspace`, or stays if the move fails."""
    replaced = workspace / "replaced"
    if directory.exists():
        os.replace(directory, replaced)
    try:
        os.replace(made, directory)
    except OSError:
        if replaced.exists():
            os.replace(replaced, directory)
        raise
    print(f"stored in {directory}")
