"""What all stages of a run share: its settings, its images, its devices, and what must hold before any of it starts."""

from __future__ import annotations

import dataclasses
import functools
import logging
from typing import TYPE_CHECKING

from csst_jax import build
from csst_jax.data import readiness
from csst_jax.models.weights import pretrained
from csst_jax.models.weights.locate import MODEL_FILE
from csst_jax.runtime.patience import told
from csst_jax.runtime.workdir import DONE_FILE
from csst_jax.settings import rounds
from csst_jax.stages.trainable import require_trainable
from csst_jax.streams import PSEUDO, UNLABELLED
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import jax

    from csst_jax.data.selection import Selection
    from csst_jax.runtime.storage import StoragePath
    from csst_jax.settings.rounds import Round
    from csst_jax.settings.run import Run
    from csst_jax.settings.training import Training
    from csst_jax.stages.artifact import Artifact
    from csst_jax.types import DatasetDescription

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run.

    Attributes:
      settings: what it was asked for.
      workdir: where its artifacts lie.
      pool: the training split: labelled and unlabelled images.
      validation: the labelled images that networks are judged on.
    """

    settings: Run
    workdir: StoragePath
    pool: Selection
    validation: Selection

    @property
    def description(self) -> DatasetDescription:
        """The data set's classes."""
        return self.pool.dataset.description

    @functools.cached_property
    def mesh(self) -> jax.sharding.Mesh:
        """All devices of all processes."""
        return build.mesh(self.settings.mesh)


def open_data(settings: Run, workdir: StoragePath) -> Experiment:
    """Opens the data set and divides it.

    Raises:
      CsstError: it is not there, or does not have what the settings name.
    """
    with told(f"opening the data set {settings.data.dir}"):
        opened = settings.data.open()
        this = Experiment(
            _by_class_name(settings, opened.description.classes),
            workdir,
            settings.data.training(opened),
            settings.data.validation(opened),
        )
    log.info(
        "data set %s: %d labelled and %d unlabelled images, %d for validation",
        opened.description.name,
        len(this.pool.labelled),
        len(this.pool.unlabelled),
        len(this.validation.labelled),
    )
    return this


def _by_class_name(settings: Run, classes: Sequence[str]) -> Run:
    """The settings, with what networks that train on from others take of their classifiers.

    `start_from` keeps parts of a classifier by the classes' names. `pretrained` takes a classifier of as many classes:
    by name, too, where the file knows the names and they are others, or in another order.
    """
    told_of: set[str] = set()

    def started(name: str, training: Training) -> Training:
        choice = training.network
        if not choice.pretrained:
            return training
        start_rows = pretrained.rows(choice.pretrained, classes)
        start_from = settings.start_from
        if start_from and pretrained.of_run(start_from, choice.name, required=False) == choice.pretrained:
            log.info("%s: starts from %s", name, choice.pretrained)
        elif pretrained.num_classes(choice.pretrained) != len(classes):
            return training
        if start_rows is not None and choice.pretrained not in told_of:
            pretrained.tell_rows(choice.pretrained, classes, start_rows)
            told_of.add(choice.pretrained)
        return dataclasses.replace(training, network=dataclasses.replace(choice, start_rows=start_rows))

    teacher, student = started("teacher", settings.teacher), started("student", settings.student)
    return dataclasses.replace(settings, teacher=teacher, student=student)


def has(this: Experiment, name: str) -> bool:
    """Whether a network belongs to this run: it was asked for, or is there to be evaluated with the others."""
    finished = (this.workdir / name / DONE_FILE).exists()
    return name in this.settings.stages or ("evaluate" in this.settings.stages and finished)


def needs_labels(this: Experiment) -> bool:
    """Whether pseudo labels are asked for, or the student trains on them."""
    return "label" in this.settings.stages or (has(this, "student") and PSEUDO in this.settings.student.origins)


def needs_teacher(this: Experiment) -> bool:
    """Whether a teacher is asked for, makes the pseudo labels, goes on, or is all that there could be to evaluate."""
    goes_on = this.settings.finetune_teacher
    return has(this, "teacher") or needs_labels(this) or goes_on or not has(this, "student")


def turns(this: Experiment) -> tuple[Round, ...]:
    """The rounds that this run may come to: without a student it ends with the first labels."""
    found = rounds.of(this.settings.rounds)
    return found if has(this, "student") else found[:1]


def require_sound(this: Experiment) -> None:
    """Says what is odd about the data, and refuses what a later stage would stumble over.

    Raises:
      CsstError: names the file, key or value and the fix.
    """
    _require_as_many_rounds(this)
    asked_for, soft_k = _asked_for(this), this.settings.label.soft_k
    if soft_k > len(this.description.classes):
        raise CsstError(
            f"label.soft.k is {soft_k}, and {this.description.name} has {len(this.description.classes)} classes; give "
            "at most that many."
        )
    if this.settings.finetune_teacher and "student" in asked_for and asked_for["student"].method.name == "cps":
        raise CsstError(
            "student.method.name=cps trains two networks, and finetune_teacher gives both the teacher's weights, so "
            "they would stay the same; set finetune_teacher to False, or take another method."
        )
    unlabelled = {name for name, training in asked_for.items() if UNLABELLED in training.origins}
    if needs_labels(this) or unlabelled:
        learns = "teacher" in unlabelled
        readiness.require_pool(
            this.pool,
            "set teacher.method.name to supervised" if learns else "train with --config.stages=teacher,evaluate",
        )
    found = readiness.findings(this.pool, this.validation)
    for warning in found.warnings:
        log.warning("data: %s", warning)
    if found.errors:
        raise CsstError("\n".join([*found.errors, "`python -m csst_jax check` with the same --config looks closer."]))
    for name, training in asked_for.items():
        pseudo = name == "student" and PSEUDO in training.origins
        # In the last round; one on fewer images has the same batches.
        try:
            require_trainable(training, this.pool, this.mesh, pseudo)
        except CsstError as error:
            raise CsstError(f"{name}: {error}") from error
    if "baseline" in this.settings.stages:
        lengthened_teacher(this, steps=1)


def going_on(this: Experiment, turn: Round) -> Training:
    """The student's settings, from the weights of its round's teacher on (paper §3.1.1, eq. 5)."""
    student = this.settings.student
    weights = str(this.workdir / turn.teacher / MODEL_FILE)
    return dataclasses.replace(
        student, network=dataclasses.replace(student.network, pretrained=weights, start_rows=None)
    )


def _asked_for(this: Experiment) -> dict[str, Training]:
    """The training stages that this run may come to."""
    settings = this.settings
    found = {"teacher": settings.teacher} if needs_teacher(this) else {}
    return found | ({"student": settings.student} if "student" in settings.stages else {})


def _require_as_many_rounds(this: Experiment) -> None:
    """Refuses the workdir of a run of fewer rounds, before more of them are trained in vain."""
    if this.settings.rounds == 1:
        return
    *_, earlier, last = rounds.of(this.settings.rounds)
    labels, before = this.workdir / last.labels, this.workdir / earlier.student
    begun = (labels / DONE_FILE).exists() or any(True for _ in (labels / "parts").glob("*.json"))
    of_fewer = not (this.workdir / earlier.labels / DONE_FILE).exists()  # else a student of this run was deleted
    if begun and of_fewer and not (before / DONE_FILE).exists():
        raise CsstError(
            f"{this.workdir} holds a run of fewer rounds than rounds={last.number}. Use another --workdir. If that run "
            f"had {earlier.number}, it can continue: move its pseudo_labels and student to {before.parent}."
        )


def lengthened_teacher(this: Experiment, steps: int) -> Training:
    """The teacher's settings, for about as many steps."""
    settings, pool = this.settings, this.pool
    count = build.num_images(settings.teacher, len(pool.labelled), len(pool.unlabelled), pseudo=False)
    return build.lengthened(settings.teacher, count, steps, this.mesh, settings.longer_by)


def require_asked_for(this: Experiment, stage: str, artifact: Artifact) -> None:
    """Refuses to make in passing what `config.stages` does not ask for.

    Args:
      this: the run.
      stage: its name, or the directory of a round's.
      artifact: of it.

    Raises:
      CsstError: the stage is needed, is not finished, and was not asked for.
    """
    stage = stage.rpartition("/")[2]
    if stage not in this.settings.stages and not artifact.done:
        raise CsstError(
            f"stages={','.join(sorted(this.settings.stages))} needs the {stage} stage, and {artifact.directory} is not "
            f"finished; add {stage} to --config.stages."
        )
