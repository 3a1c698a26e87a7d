"""For a study's page: what the crops of its teachers show, which its samplers and sizes decide before any training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csst_jax.data.shares import shares
from csst_jax.data.statistics import class_statistics
from csst_jax.data.stored.encoded import decode_label
from csst_jax.runtime.storage import replacing
from csst_jax.studying import page

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence

    from csst_jax.studying.arms import Run

_CROPS = 1000
_READ = (
    f"Each class's share of the pixels of the teacher's crops, in percent: of the first {_CROPS:,} of a run, without "
    "void. *masks* is its share of the labelled masks themselves."
)


def note(workdir: pathlib.Path, runs: Sequence[Run]) -> None:
    """Writes notes.md with a table: a column for each arm that trains a teacher. It is a `Study.prepare`.

    Args:
      workdir: the study's.
      runs: of which the first of each arm counts.

    Raises:
      CsstError: a data set is not there, or a setting is wrong.
    """
    columns: dict[str, list[str]] = {}
    classes: Sequence[str] = ()
    for run in runs:
        if run.arm.name not in columns and "teacher" in run.stages and run.config.teacher.epochs:
            classes, own, drawn = _of(run)
            columns.setdefault(f"masks of {run.config.data.labelled_ids or 'all'}", own)
            columns[run.arm.name] = drawn
    if not columns:
        return
    names = {name: "masks" if name.startswith("masks of ") else name for name in columns}
    body = [[klass, *(column[i] for column in columns.values())] for i, klass in enumerate(classes)]
    text = f"## Classes in the crops\n\n{_READ}\n\n{page.table_of(['', *names.values()], body)}\n"
    with replacing(workdir / page.NOTES_FILE) as made:
        made.write_text(text, encoding="utf-8")


def _of(run: Run) -> tuple[Sequence[str], list[str], list[str]]:
    """Class names, their shares of the masks, and of the crops."""
    from csst_jax import build  # imports JAX, and a study's file is loaded before that
    from csst_jax.models.preprocessing import IMAGENET
    from csst_jax.settings import resolve

    data = resolve.data(run.config)
    opened = data.open()
    selection = data.training(opened)
    config = run.config.teacher.copy_and_resolve_references()
    config.pretrained = ""  # crops do not depend on it, and another arm's network is not there yet
    training = resolve.training(config, IMAGENET)
    given = build.images(training, selection)
    classes = opened.description.classes
    masks = {(0, record): decode_label(selection.reader.label_bytes(record)) for record in selection.labelled}
    pixels = class_statistics(selection.dataset.centroids(selection.split), selection.labelled).pixels
    found = shares(
        build.samplers(training, given, classes)[training.streams[0].name],
        masks,
        len(classes),
        crop_px=training.crops.crop_px,
        scale_range=training.sampling.scale_range,
        num_crops=_CROPS,
        seed=run.seed,
    )
    return classes, [f"{100 * p:.2f}" for p in pixels / pixels.sum()], [f"{100 * p:.2f}" for p in found.pixels]
