"""The training stage. Teacher and student are the same stage with other inputs (paper eqs. 1 and 3)."""

from __future__ import annotations

import dataclasses
import datetime
import json
import logging
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from csst_jax import build
from csst_jax.data import sampling
from csst_jax.models.weights.files import TRAINED_HERE, Description
from csst_jax.models.weights.locate import MODEL_FILE
from csst_jax.runtime.json_files import write_json
from csst_jax.runtime.patience import told
from csst_jax.runtime.workdir import CHECKPOINTS
from csst_jax.settings import ranges
from csst_jax.stages import model_file, snapshots, while_training
from csst_jax.stages.feed import Feed
from csst_jax.stages.snapshots import Snapshots, Watches
from csst_jax.streams import crops_of
from csst_jax.train import precise_bn
from csst_jax.train.checkpoint import Checkpoints
from csst_jax.train.compile import distinct_phases
from csst_jax.train.loop import TrainingRun, train
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clu.metric_writers import MetricWriter

    from csst_jax.data.crop_plan import Sampler
    from csst_jax.data.sampling import Images
    from csst_jax.settings.training import Training
    from csst_jax.stages.artifact import Artifact
    from csst_jax.stages.experiment import Experiment
    from csst_jax.stages.model_file import Trained
    from csst_jax.train.step import Recipe
    from csst_jax.train.watch import Watch
    from csst_jax.train_state import TrainState
    from csst_jax.types import Phase

log = logging.getLogger(__name__)

PARAMETERS_FILE = "parameters.txt"
PLAN_FILE = "plan.json"
"""The stage's plan: steps, sizes by epoch, and how often its sampler draws each class."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What one training stage is to do.

    Attributes:
      name: of the stage.
      training: its settings.
      images: the stage's images, by origin (see `csst_jax.streams`).
      seed: seed of the initial values, the samples and the augmentation.
      teacher_sha256: hash of the weights that made the pseudo labels; None without any.
      soft_sha256: hash of the soft pseudo labels; None without any.
    """

    name: str
    training: Training
    images: Mapping[str, Images]
    seed: int
    teacher_sha256: str | None = None
    soft_sha256: str | None = None


def run(this: Experiment, artifact: Artifact, job: Job) -> Trained:
    """Trains, continues training, or loads the network of a finished stage.

    Raises:
      CsstError: a finished stage's weights have changed since, or cannot be read; and the errors of `train`.
    """
    if artifact.done and (artifact.directory / MODEL_FILE).exists():
        log.info("%s: done, skipped", job.name)
        return model_file.finished(artifact)
    with artifact.clock() as elapsed:
        trained = _run(this, artifact, job, elapsed)
    multihost_utils.sync_global_devices(f"{job.name} finished")  # a later stage may start from the file
    return trained


def _run(this: Experiment, artifact: Artifact, job: Job, elapsed: Callable[[], float]) -> Trained:
    count = sum(len(given.records) for given in job.images.values())
    phases = build.phases(job.training, count, this.mesh)
    classes = this.description.classes
    with told(f"{job.name}: building {job.training.network.name}"):
        steps = sum(phase.steps for phase in phases)
        recipe = build.recipe(job.training, len(classes), job.seed, this.settings.mesh, this.mesh, steps)
    samplers = build.samplers(job.training, job.images, classes)
    feed = Feed(job.training, job.images, samplers, phases, job.seed, this.settings.input)
    _announce(artifact, recipe, phases, job)
    if jax.process_index() == 0:
        write_json(artifact.directory / PLAN_FILE, _plan(job, samplers, phases, classes))

    def writer_from(start_step: int) -> MetricWriter:
        from csst_jax.train.metrics import make_writer  # imports TensorFlow; meanwhile the first step is compiled

        first = jax.process_index() == 0
        project = this.settings.wandb_project
        writer = make_writer(artifact.directory, start_step, write=first, wandb_project=project)
        writer.write_texts(start_step, {"config": _as_text(job)})
        writer.write_hparams(ranges.flattened(job.training.request.differing))
        return writer

    checkpoints = Checkpoints(artifact.directory / CHECKPOINTS, this.settings.checkpoints_kept)
    try:
        if artifact.done:
            _require_last(checkpoints, artifact)
        state, compilations = train(
            TrainingRun(
                name=job.name,
                recipe=recipe,
                phases=phases,
                learning_rates=build.learning_rates(job.training, phases),
                seed=job.seed,
                batches=feed.batches,
                checkpoints=checkpoints,
                make_writer=writer_from,
                log_every_steps=this.settings.log_every_steps,
                checkpoint_every_s=this.settings.checkpoint_every_s,
                nonfinite_steps=job.training.nonfinite_steps,
                samples=feed.described,
                watch=_watch(this, artifact, job, recipe, phases),
                profile_steps=this.settings.profile_steps,
            )
        )
    finally:
        checkpoints.close()
    with told(f"{job.name}: writing the trained network"):
        trained = _keep(this, artifact, job, recipe, state, phases)
    if artifact.done:
        return trained
    artifact.finish(
        {
            "network": job.training.network.name,
            "method": job.training.method.name,
            "steps": trained.steps,
            "weights_sha256": trained.sha256,
            "wall_s": elapsed(),
            "compilations": _compilations(distinct_phases(phases), compilations),
        }
    )
    return trained


def _watch(this: Experiment, artifact: Artifact, job: Job, recipe: Recipe, phases: Sequence[Phase]) -> Watch | None:
    scores = while_training.watch(this, job.name, recipe, phases)
    if not job.training.snapshots:
        return scores
    description = _description(this, artifact, job, steps=0)
    kept = Snapshots(artifact.directory, recipe, phases, job.training.snapshots, description)
    return Watches([kept, scores])


def _require_last(checkpoints: Checkpoints, artifact: Artifact) -> None:
    """A finished stage without its model file gets it from the last checkpoint, if that is there.

    Raises:
      CsstError: it is not: what the stage finished with is lost.
    """
    log.warning("%s: %s is missing; it is made again from the last checkpoint", artifact.directory.name, MODEL_FILE)
    if checkpoints.latest_step() != artifact.result["steps"]:
        raise CsstError(
            f"{artifact.directory} is finished, and both {MODEL_FILE} and the last checkpoint are missing; put one of "
            f"them back, or delete {artifact.directory} to train it again."
        )


def _keep(
    this: Experiment, artifact: Artifact, job: Job, recipe: Recipe, state: TrainState, phases: Sequence[Phase]
) -> Trained:
    """Writes the weights that predict, and nothing else of the state, to the model file."""
    description = _description(this, artifact, job, int(state.step))
    params, stats = model_file.predicting(recipe, state)
    measured = bool(phases and job.training.precise_bn_steps)  # without a step, the network is what it started from
    if measured:
        with told(f"{job.name}: measuring the statistics of batch normalisation"):
            samplers = sampling.even_samplers(job.training.streams, job.images, this.description.classes)
            # The full crop is nearest to the whole images that the network is to predict.
            full = max(phases, key=lambda phase: phase.crop_px)
            alike = [dataclasses.replace(full, steps=job.training.precise_bn_steps)]
            feed = Feed(job.training, job.images, samplers, alike, job.seed, this.settings.input)
            measure = precise_bn.measure(recipe, job.seed)
            stats = measure(params, stats, feed.batches(0))
            snapshots.measure(artifact.directory, lambda own, its: measure(own, its, feed.batches(0)))
    return model_file.save(artifact, recipe.method.parts.network, (params, stats), description, measured)


def _description(this: Experiment, artifact: Artifact, job: Job, steps: int) -> Description:
    choice, data = job.training.network, this.description
    return Description(
        network=choice.name,
        options=choice.options,
        num_classes=len(data.classes),
        source=TRAINED_HERE,
        source_sha256="",
        preprocessing=choice.preprocessing,
        classes=data.classes,
        palette=data.palette,
        official_ids=data.official_ids,
        longest_side=data.longest_side,
        dtype=choice.dtype,
        method=job.training.method.name,
        steps=steps,
        origin=model_file.origin(artifact, data.name),
    )


def _plan(job: Job, samplers: Mapping[str, Sampler], phases: Sequence[Phase], classes: Sequence[str]) -> dict[str, Any]:
    """For the report and for `csst_jax.status`."""
    draws = {}
    for name, count in crops_of(job.training.streams, sum(p.steps * p.global_batch for p in phases[:1])).items():
        klass = samplers[name].plan(0, job.seed, count)["klass"] if count else np.zeros(0, np.int64)
        found = np.bincount(klass[klass >= 0], minlength=len(classes))
        if found.any():
            draws[name] = dict(zip(classes, found.tolist(), strict=True))
    return {
        "network": job.training.network.name,
        "method": job.training.method.name,
        "steps": sum(phase.steps for phase in phases),
        "epochs": [[phase.steps, phase.crop_px, phase.global_batch] for phase in phases],
        "images": {origin: len(given.records) for origin, given in job.images.items()},
        "class_draws": draws,
        "begun": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _as_text(job: Job) -> str:
    """The stage's settings, as TensorBoard shows them: Markdown."""
    return f"```json\n{json.dumps(job.training.request.whole, indent=2, default=str)}\n```"


def _compilations(planned: Sequence[Any], made: Sequence[Any]) -> dict[str, Any]:
    """How many steps were compiled in the process that finished the stage, out of how many distinct phases."""
    return {
        "distinct_phases": len(planned),
        "count": len(made),
        "phases": [dataclasses.asdict(compilation) for compilation in made],
    }


def _announce(artifact: Artifact, recipe: Recipe, phases: Sequence[Phase], job: Job) -> None:
    """Devices, parameters and plan; the parameters' full table goes to a file, as it is longer than a screen."""
    from clu import parameter_overview

    name, (params, _) = job.name, recipe.method.trained()
    overview = parameter_overview.get_parameter_overview(params, include_stats=False)
    if jax.process_index() == 0:  # the directory is this process's, and may not be there yet for the others
        (artifact.directory / PARAMETERS_FILE).write_text(overview + "\n", encoding="utf-8")
    by_module: dict[str, int] = {}
    for path, value in params.items():
        module = path.partition(".")[0]
        by_module[module] = by_module.get(module, 0) + np.size(value)
    devices = ", ".join(f"{d.device_kind} {d.id}" for d in jax.devices())
    images = " + ".join(f"{len(given.records)} {origin}" for origin, given in job.images.items())
    sizes = ", ".join(f"{p.crop_px} px x {p.global_batch}" for p in distinct_phases(phases))
    log.info("%s: devices: %d (%s), processes: %d", name, jax.device_count(), devices, jax.process_count())
    log.info(
        "%s: %s parameters (%s); all of them in %s",
        name,
        f"{sum(by_module.values()):,}",
        ", ".join(f"{module} {count:,}" for module, count in by_module.items()),
        PARAMETERS_FILE,
    )
    steps = sum(p.steps for p in phases)
    log.info("%s: %s images, %d epochs, %d steps, crops %s", name, images, len(phases), steps, sizes)
