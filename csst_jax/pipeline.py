"""The paper at a glance: train a teacher, label the pool, train a student on both, evaluate.

    labelled images ─▶ teacher ─▶ pseudo labels of the unlabelled images ─▶ student ─▶ results.json
                          ▲                    rounds=2, 3, …                 │
                          └───────────────────────────────────────────────────┘

Each box is a stage with a directory of its own in the workdir. A finished stage is skipped. An interrupted stage
continues where it stopped. A stage that was made with other settings or from other inputs is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import jax

from csst_jax.runtime.patience import told
from csst_jax.runtime.workdir import DONE_FILE, EVALUATION
from csst_jax.stages import conclude, evaluate, experiment, label, label_quality, record, requests, train, turns
from csst_jax.stages.artifact import Artifact

if TYPE_CHECKING:
    from collections.abc import Callable

    from csst_jax.runtime.storage import StoragePath
    from csst_jax.settings.rounds import Round
    from csst_jax.settings.run import Run
    from csst_jax.settings.training import Training
    from csst_jax.stages.experiment import Experiment
    from csst_jax.stages.label import PseudoLabels
    from csst_jax.stages.model_file import Trained

Result = TypeVar("Result")


def run(settings: Run, workdir: StoragePath) -> dict[str, Any] | None:
    """Runs the stages that the settings ask for (paper §3.1, Fig. 2).

    Args:
      settings: of the run.
      workdir: directory for all artifacts.

    Returns:
      The content of `results.json`; None without the evaluate stage, and in all processes except the first.

    Raises:
      CsstError: something the user can fix.
      Preempted: SIGTERM or Ctrl-C came; everything so far is saved.
    """
    this = experiment.open_data(settings, workdir)
    settings = this.settings
    with told("checking the data and the settings of all stages"):
        experiment.require_sound(this)
    record.begin(this)
    networks: dict[str, Trained] = {}
    pseudo: PseudoLabels | None = None

    # Stage one: a teacher on the real labels (eq. 1).
    if experiment.needs_teacher(this):
        networks["teacher"] = train_network(this, "teacher", settings.teacher, settings.seed)

    # Once, or in rounds, in which each student is the next teacher:
    for turn in experiment.turns(this):
        # Stage two: hard pseudo labels for the unlabelled images (eq. 2); with label.soft.k also soft labels (eq. 6).
        if experiment.needs_labels(this):
            pseudo = label_pool(this, turn, networks[turn.teacher], pseudo)

        # Stage three: a student with its own initial values learns both (eq. 3), or the teacher is fine-tuned (eq. 5).
        if experiment.has(this, "student"):
            student = experiment.going_on(this, turn) if settings.finetune_teacher else settings.student
            seed = (settings.seed + turn.number) % 2**32
            networks[turn.student] = train_network(this, turn.student, student, seed, pseudo)

    # The control (Table 1b): the teacher's recipe for as many steps as the student took.
    if experiment.has(this, "baseline") and "student" in networks:
        longer = experiment.lengthened_teacher(this, networks["student"].steps)
        networks["baseline"] = train_network(this, "baseline", longer, settings.seed)

    if "evaluate" not in settings.stages:
        return None
    scores = {name: evaluate_network(this, name, network) for name, network in networks.items()}
    return conclude.conclude(this, networks, scores)


def train_network(
    this: Experiment, name: str, training: Training, seed: int, pseudo: PseudoLabels | None = None
) -> Trained:
    """One training stage in `workdir/<name>`."""
    images = turns.images(this, training, pseudo)
    made_by, soft = (pseudo.teacher_sha256, pseudo.soft_sha256) if pseudo else (None, None)
    job = train.Job(name, training, images, seed, made_by, soft)
    artifact = Artifact(this.workdir / name, requests.train(this, job))
    experiment.require_asked_for(this, name, artifact)
    return _reported(this, artifact, lambda: train.run(this, artifact, job))


def label_pool(this: Experiment, turn: Round, teacher: Trained, before: PseudoLabels | None) -> PseudoLabels:
    """The label stage of a round; the last round's is in `workdir/pseudo_labels`."""
    this = turns.in_round(this, turn)
    artifact = Artifact(this.workdir / turn.labels, requests.label(this, teacher, **turns.inputs(before)))
    experiment.require_asked_for(this, "label", artifact)
    made = label.run(this, artifact, teacher, before)
    turns.compare(this, turn, before, made)
    if jax.process_index() == 0 and not (this.workdir / turn.student / DONE_FILE).exists():
        label_quality.tell(this, made, artifact.directory, turn.teacher)
        record.grown(this)
    return made


def evaluate_network(this: Experiment, name: str, network: Trained) -> dict[str, Any]:
    """One network's evaluation in `workdir/<name>/evaluation`."""
    artifact = Artifact(this.workdir / name / EVALUATION, requests.evaluate(this, network))
    return _reported(this, artifact, lambda: evaluate.run(this, artifact, name, network))


def _reported(this: Experiment, artifact: Artifact, stage: Callable[[], Result]) -> Result:
    """Runs a stage and returns what it makes. If it was not finished before, the report is written again with it."""
    before = artifact.done
    made = stage()
    if not before:
        record.grown(this)
    return made
