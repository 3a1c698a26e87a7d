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
from csst_jax.types import CsstError


@contextlib.contextmanager
def exclusive(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a directory beside `directory` (so on the same file system), and removes it once all is done.

    Its name starts with a dot, so that nothing takes it for finished. What an interrupted or killed preparation left in
    it is there for the next one to go on with. The lock dies with its process: nobody is blocked by a dead one.

    Raises:
      CsstError: another process is preparing `directory`, or a run reads what is there.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    workspace = directory.parent / f".unfinished-{directory.name}"
    with open(directory.parent / ".lock", "w") as lock:
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
    replaced = workspace / "replaced"
    shutil.rmtree(replaced, ignore_errors=True)  # of a preparation that was killed after its last step but one
    if directory.exists():
        os.replace(directory, replaced)
    try:
        os.replace(made, directory)
    except OSError:
        if replaced.exists():
            os.replace(replaced, directory)
        raise
    print(f"stored in {directory}")
