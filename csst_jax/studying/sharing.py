"""Work that several runs of a study have in common is done once: a finished stage is linked into the others.

The pipeline looks at what is linked as at its own: it compares the whole request, and refuses what is another's. Here
only runs are paired that will ask for the same.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from csst_jax.runtime.json_files import fingerprint
from csst_jax.runtime.workdir import CHECKPOINTS, DONE_FILE, EVALUATION, LABELS
from csst_jax.settings import resolve, sized
from csst_jax.stages.artifact import ELAPSED_FILE

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence

    from csst_jax.studying.arms import Run

TEACHER, SCORES = "teacher", f"teacher/{EVALUATION}"
_OF_ONE_STAGE = ("stages", "rounds", "teacher", "label", "student", "baseline", "evaluate", "finetune_teacher")
_OWN = (f"{CHECKPOINTS}*", EVALUATION, "*.partial", ".*.tmp", ELAPSED_FILE)
"""What is not linked along: the model file is all that later stages read, and `SCORES` are a stage of their own. Nor
are files that the other run is about to remove: they may be gone a moment later."""


def keys(run: Run) -> dict[str, str]:
    """What stands for a stage's result, by the stage's directory, of the stages that can be shared.

    A run whose sizes are chosen from the machine shares nothing.
    """
    config, stages = run.config, run.stages
    if sized.is_open(config) or TEACHER not in stages:
        return {}
    common = {key: value for key, value in run.asked().items() if key.partition(".")[0] not in _OF_ONE_STAGE}
    teacher = {**common, "teacher": resolve.requested(config.teacher.to_dict(), {}).whole}
    found = {TEACHER: fingerprint(teacher)}
    if "label" in stages and config.rounds == 1:
        found[LABELS] = fingerprint([teacher, config.label.to_dict()])
    if "evaluate" in stages:
        found[SCORES] = fingerprint([teacher, config.evaluate.to_dict()])
    return found


def missing(run: Run) -> dict[str, str]:
    """Of `keys` those of stages that the run has not finished."""
    return {stage: key for stage, key in keys(run).items() if not finished(run, stage)}


def waits(run: Run, running: Sequence[Run]) -> bool:
    """Whether a run that is under way is about to finish what this one needs first."""
    mine = missing(run)
    theirs = [missing(other) for other in running]
    return any(mine[stage] == other.get(stage) for stage in (TEACHER, LABELS) if stage in mine for other in theirs)


def link(run: Run, others: Sequence[Run]) -> list[str]:
    """Gives a run what others have finished; each directory appears whole.

    What the run has begun of it itself goes: it would come to the same. Call it while nobody else has the workdir.

    Returns:
      A line for each stage: whose it is.
    """
    told = []
    for stage, key in missing(run).items():
        target = run.workdir / stage
        source = next((o for o in others if o is not run and finished(o, stage) and keys(o).get(stage) == key), None)
        if source is None or (stage == SCORES and not finished(run, TEACHER)):
            continue
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source.workdir / stage, partial, copy_function=_link, ignore=shutil.ignore_patterns(*_OWN))
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
        told.append(f"{stage} of {source.name}")
    return told


def finished(run: Run, stage: str) -> bool:
    """Whether the run's stage is finished."""
    return (run.workdir / stage / DONE_FILE).exists()


def _link(source: str, target: str) -> pathlib.Path | str:
    """A second name of the same bytes: a finished stage's files are replaced, and never written into."""
    with contextlib.suppress(OSError):  # this file system has no links
        os.link(source, target)
        return target
    return shutil.copy2(source, target)
