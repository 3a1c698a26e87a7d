"""Where a preparation works until it is done: what others see appears whole or not at all, one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
import sys
from collections.abc import Collection, Iterator

from csst_jax.data.in_use import written_alone
from csst_jax.data.store import METADATA_FILE
from csst_jax.types import CsstError

_LOCK_FILE = ".lock"
_REPLACED = "replaced"
"""In the workspace: the data set that was there before."""


@contextlib.contextmanager
def exclusive(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a directory beside `directory` (so on the same file system), and removes it once all is done.

    Its name starts with a dot, so that nothing takes it for finished. What an interrupted or killed preparation left in
    it is there for the next one to go on with. The lock dies with its process: nobody is blocked by a dead one.

    Raises:
      CsstError: another process is preparing `directory`, or a run reads what is there.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    workspace = _of(directory)
    with open(directory.parent / _LOCK_FILE, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CsstError(f"another process is preparing {directory}; wait for it, or stop it.") from None
        except OSError as error:  # NFS or Lustre mounted without locks
            print(
                f"warning: the file system of {directory.parent} has no locks ({error.strerror}): do not prepare two "
                "data sets in it at the same time.",
                file=sys.stderr,
            )
        with written_alone(directory):
            workspace.mkdir(exist_ok=True)
            yield workspace
            shutil.rmtree(workspace, ignore_errors=True)


def keep_only(directory: pathlib.Path, names: Collection[str]) -> None:
    """Makes `directory`, or removes all files from it that are not named: of other sources, or half written."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        if path.name not in names:
            path.unlink()


def put_in_place(made: pathlib.Path, directory: pathlib.Path, workspace: pathlib.Path) -> None:
    """Moves `made` to `directory`; what was there before goes to `workspace`, or stays if the move fails."""
    replaced = workspace / _REPLACED
    shutil.rmtree(replaced, ignore_errors=True)  # of a preparation that was killed after its last step but one
    if directory.exists():
        os.replace(directory, replaced)
    try:
        os.replace(made, directory)
    except OSError:
        if replaced.exists():
            os.replace(replaced, directory)
        raise
    (replaced / METADATA_FILE).unlink(missing_ok=True)  # so that `restore` leaves it alone from now on
    print(f"stored in {directory}")


def restore(directory: pathlib.Path) -> None:
    """Brings back what a preparation that was killed had moved away, before it could put the new data set there."""
    replaced = _of(directory) / _REPLACED
    if directory.exists() or not (replaced / METADATA_FILE).is_file():
        return
    with open(directory.parent / _LOCK_FILE, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # a preparation is between its last steps
            return
        except OSError:  # no locks, which `exclusive` tells
            pass
        if not directory.exists():
            os.replace(replaced, directory)
            print(f"{directory}: the last preparation was stopped in its last step. The data set before it is back.")


def _of(directory: pathlib.Path) -> pathlib.Path:
    return directory.parent / f".unfinished-{directory.name}"
