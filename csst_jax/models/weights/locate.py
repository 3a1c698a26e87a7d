"""Where the file of a trained network lies, from what a user gives."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from csst_jax.runtime.storage import StoragePath, as_path
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import os

MODEL_FILE = "model.safetensors"
"""The trained network, in the directory of a training stage."""

_SHOWN = 6
"""Names that an error shows."""
STAGES = ("student", "baseline", "teacher")
"""The training stages of a workdir; the first that is there is the network that a run is for."""


def networks(workdir: str | os.PathLike[str]) -> dict[str, StoragePath]:
    """The files of a workdir's trained networks by stage, in the order of `STAGES`.

    Raises:
      CsstError: there is none.
    """
    found = as_path(workdir, "--workdir")
    there = {stage: found / stage / MODEL_FILE for stage in STAGES if (found / stage / MODEL_FILE).is_file()}
    if not there:
        raise CsstError(
            f"{found} has no trained network: no {', '.join(STAGES)} with a {MODEL_FILE}. Give the workdir of a run "
            "that has finished a stage."
        )
    return there


def locate(path: str | os.PathLike[str], name: str = "path") -> StoragePath:
    """The file of a network.

    Args:
      path: the file itself, the directory of a finished training stage, or a workdir, whose student is meant; on a disk
        or in a bucket (`gs://…`).
      name: of the flag or argument, for errors.

    Raises:
      CsstError: there is no such file or directory, or it is a directory without such a file; names what is there.
    """
    found = as_path(path, name)
    if not found.is_dir():
        if not found.exists():
            raise CsstError(f"there is no {found}{_like(found)}. {_GIVE}.")
        return found
    for file in (found / MODEL_FILE, found / "student" / MODEL_FILE):
        if file.is_file():
            return file
    others = sorted(stage.name for stage in found.iterdir() if (stage / MODEL_FILE).is_file())
    if others:
        raise CsstError(
            f"{found} has no finished student; it has: {', '.join(others)}. Give one of them, as {found / others[0]}, "
            "or run its command again until the student is finished."
        )
    raise CsstError(
        f"{found} has no {MODEL_FILE}. {_GIVE}. If a stage is not finished, or an earlier version of csst_jax finished "
        "it, run its command again."
    )


_GIVE = "Give a file of weights, the directory of a finished training stage or its workdir"


def _like(path: StoragePath) -> str:
    """What lies beside a path that is not there, those of a similar name first."""
    there = sorted(other.name for other in path.parent.iterdir()) if path.parent.is_dir() else []
    there = [name for name in there if not name.startswith(".")]
    near = difflib.get_close_matches(path.name, there) or there[:_SHOWN]
    return f"; {path.parent} has: {', '.join(near)}" if near else ""
