"""Every file below a directory: used, or counted and named with the reason."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

from csst_jax.data.store import METADATA_FILE
from csst_jax.data.walk import LeftOut, walk
from csst_jax.runtime.workdir import CONFIG_FILE, RUN_FILE
from csst_jax.user_files import same_name, shown, user_path
from data_prep import raw
from data_prep.problems import Problems

_OWN = {
    "of a prepared data set": (METADATA_FILE, "dataset_info.json"),
    "of a run": (RUN_FILE, CONFIG_FILE),
}
"""Files that tell directories of these programs, by what lies there; their pictures are no photos of the user's."""

Judge = Callable[[pathlib.Path], str | None]
"""Says of a file "" to take it, the reason to leave it out, or None where it is used elsewhere; raises `Bad`."""


def place(path: pathlib.Path) -> pathlib.Path:
    """Where a file's name lies, links to directories followed. The file may be a link itself: into a store, say."""
    return path.parent.resolve() / path.name


def find_files(
    directory: pathlib.Path, flag: str, judge: Judge, problems: Problems, ending: str = ""
) -> dict[str, pathlib.Path]:
    """Files below `directory` by id: the relative path without its suffix, in composed Unicode.

    Linked files and directories count as if they lay there. Hidden ones do not, nor do prepared data sets and runs.
    What is left out is told.

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
    own: dict[pathlib.Path, str] = {}
    for path in walk(top, left_out, problems.add):
        name = path.relative_to(top)
        try:
            reason = _of_own(path.parent, top, own) or judge(path)
        except raw.Bad as bad:
            problems.add(str(bad))
            continue
        if reason:
            left_out.add(shown(name), reason)
        if reason != "":
            continue
        if not path.is_file():  # opening a pipe would wait for ever
            problems.add(f"{shown(path)}: a pipe or a device, and no file. Remove it.")
            continue
        image_id = same_name(name.with_suffix("").as_posix()).removesuffix(ending)
        if image_id in files:
            problems.add(
                f"duplicate id {image_id!r}: {files[image_id]} and {path}. If one is the mask of the other, put the "
                "masks into another directory, or give them names like NAME_mask.png and --mask_suffix=_mask. If both "
                "are images, or both are masks, rename or remove one."
            )
        files[image_id] = path
    left_out.tell(f"{flag}={directory}")
    return files


def _of_own(directory: pathlib.Path, top: pathlib.Path, known: dict[pathlib.Path, str]) -> str:
    """What of `_OWN` a directory is or lies in, at or below `top`; empty for the user's."""
    if directory not in known:
        here = (what for what, names in _OWN.items() if all((directory / name).is_file() for name in names))
        known[directory] = next(here, "") or ("" if directory == top else _of_own(directory.parent, top, known))
    return known[directory]
