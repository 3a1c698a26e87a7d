"""Networks of finished runs that are scored again: where they lie, and whether their data is still what it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csst_jax.models.weights import locate
from csst_jax.runtime.json_files import read_json
from csst_jax.runtime.storage import as_path
from csst_jax.runtime.workdir import DONE_FILE, EVALUATION, STAGE_FILE
from csst_jax.settings import resolve
from csst_jax.settings.recorded import get_config
from csst_jax.stages.requests import validation_sha256
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.data.chosen import Data
    from csst_jax.runtime.storage import StoragePath


def networks(workdir: StoragePath) -> list[StoragePath]:
    """The directories of a run's finished networks: teacher, control and student, in this order.

    Raises:
      CsstError: there is none.
    """
    return [path.parent for path in reversed(locate.networks(workdir).values())]


def require_same_data(workdirs: Sequence[StoragePath], data: Data) -> None:
    """Refuses to compare runs that were judged on different images, unless the user chose images for all of them.

    Args:
      workdirs: of the runs.
      data: what they are scored on now.

    Raises:
      CsstError: a run's own data set or validation split is another; says which, and how to choose one.
    """
    here = data.open()
    if workdirs and not _is_own(workdirs[0], data):
        return
    for workdir in workdirs[1:]:
        if _is_own(workdir, data):
            continue
        own = resolve.data(get_config(str(workdir)))
        theirs = own.open()
        if theirs.directory.resolve() != here.directory.resolve() or own.val_split != data.val_split:
            raise CsstError(
                f"{workdirs[0]} and {workdir} were judged on different images: {here.directory}, split "
                f"{data.val_split!r}, and {theirs.directory}, split {own.val_split!r}. Score them one by one, or all "
                "on one data set: --config=FILE --config.data.dir=DIR --checkpoint=WORKDIR,…"
            )


def tell_changed(workdirs: Sequence[StoragePath], data: Data) -> None:
    """Says of each run whose validation images have changed since it was scored; all are scored on what is there."""
    selection = data.evaluation(data.open())
    if not selection.labelled:
        return
    now = validation_sha256(selection)
    for workdir in workdirs:
        if not _is_own(workdir, data):
            continue  # the user chose other images
        for stage in networks(workdir):
            before = _scored(stage / EVALUATION)
            if before and before["labels_sha256"] != now:
                print(
                    f"{workdir}: its validation masks have changed since it was scored: {before['images']} then, "
                    f"{len(selection.labelled)} now. These scores are for the current masks; {workdir}/results.json "
                    "keeps the earlier scores."
                )
                break


def _is_own(workdir: StoragePath, data: Data) -> bool:
    """Whether these are the data set and the split that a run was judged on."""
    own = get_config(str(workdir)).data
    return own.val_split == data.val_split and as_path(own.dir) == as_path(data.dir)


def _scored(directory: StoragePath) -> dict[str, Any] | None:
    """The labels and the number of images of a finished evaluation; None where there is none."""
    if not (directory / DONE_FILE).exists():
        return None
    request = read_json(directory / STAGE_FILE)["request"]
    return {"labels_sha256": request["labels_sha256"], "images": read_json(directory / DONE_FILE)["images"]}
