"""The training stage. Teacher and student are the same stage with other inputs (paper eqs. 1 and 3)."""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from csst_jax import build
from csst_jax.data.kept import kept_in_memory
from csst_jax.models.weights.files import TRAINED_HERE, Description
from csst_jax.models.weights.locate import MODEL_FILE
from csst_jax.stages import model_file
from csst_jax.train import sharding
from csst_jax.train.checkpoint import Checkpoints
from csst_jax.train.compile import distinct_phases
from csst_jax.train.loop import TrainingRun, train

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clu.metric_writers import MetricWriter
    from ml_collections import ConfigDict

    from csst_jax.data.sampling import LabelledSource
    from csst_jax.models.nnx_io import Arrays, Network
    from csst_jax.stages.artifact import Artifact
    from csst_jax.stages.model_file import Trained
    from csst_jax.train.state import TrainState
    from csst_jax.types import DatasetDescription

log = logging.getLogger(__name__)

PARAMETERS_FILE = "parameters.txt"


def predicting_weights(state: TrainState) -> tuple[Arrays, Arrays]:
    """Which weights predict, as (params, batch_stats): labels, scores, pictures and the model file have no others."""
    return state.params, state.batch_stats


def run(
    artifact: Artifact,
    config: ConfigDict,
    stage: ConfigDict,
    sources: Sequence[LabelledSource],
    data: DatasetDescription,
    seed: int,
    teacher_sha256: str | None = None,
) -> Trained:
    """Trains, or goes on training, or loads what is trained.

    A finished stage is loaded from its model file. One that an earlier version finished has none; it is made from the
    last checkpoint.

    Args:
      artifact: the stage's directory.
      config: the run's configuration.
      stage: this stage's part of it (`config.teacher` or `config.student`).
      sources: labelled images: the real ones first, then pseudo-labelled ones.
      data: what the labels mean.
      seed: of the initial values, the samples and the augmentation.
      teacher_sha256: hash of the weights that made the pseudo labels.

    Raises:
      CsstError: a finished stage's weights are not those that it finished with, or cannot be read; or see `train`.
    """
    name = artifact.directory.name
    if artifact.done and (found := model_file.finished(artifact)):
        log.info("%s: done, skipped", name)
        return found
    classes, options = data.classes, build.network_options(stage)
    mesh = build.mesh(config)
    phases = build.phases(stage, sum(len(labelled.records) for labelled in sources), mesh)
    # What is trained needs no initial values, which take seconds to make.
    net = build.network(stage, len(classes), None if artifact.done else seed)
    recipe = build.recipe(config, stage, net, mesh)
    checkpoints = Checkpoints(artifact.directory / "checkpoints", config.checkpoint.keep)
    steps = sum(phase.steps for phase in phases)
    try:
        if artifact.done:
            log.info("%s: done by an earlier version; its last checkpoint becomes %s", name, MODEL_FILE)
            state = checkpoints.restore(recipe.abstract_state(), steps)
        else:
            sampler = build.sampler(stage, sources, classes)
            _announce(artifact, net, phases, sources)
            begin = time.perf_counter()

            def input_from(start_step: int) -> Iterator[dict[str, np.ndarray]]:
                # TensorFlow takes seconds to import; meanwhile the first step is compiled.
                from csst_jax.data.batches import batch_specs, batches

                scale_range = (stage.augment.scale_min, stage.augment.scale_max)
                here = (jax.process_index(), jax.process_count())
                specs = batch_specs(sampler, phases, seed, scale_range, start_step, *here)
                readers = kept_in_memory([labelled.source for labelled in sources], config.input.cache_mb * 2**20)
                how = {"parallel_batches": config.input.parallel_batches, "prefetch": config.input.prefetch}
                return batches(specs, readers, **how)

            def samples_of(step: int) -> list[str]:
                from csst_jax.data.batches import batch_specs

                spec = next(
                    batch_specs(sampler, phases, seed, (1.0, 1.0), step, jax.process_index(), jax.process_count())
                )
                return [
                    f"{sources[row['source']].source.describe(int(row['record']))} at ({row['y']:.0f}, {row['x']:.0f})"
                    for row in spec.rows
                ]

            def writer_from(start_step: int) -> MetricWriter:
                from csst_jax.train.metrics import make_writer

                return make_writer(artifact.directory, start_step, write=jax.process_index() == 0)

            state, compilations = train(
                TrainingRun(
                    name=name,
                    recipe=recipe,
                    phases=phases,
                    learning_rates=build.learning_rates(stage, phases),
                    seed=seed,
                    batches=input_from,
                    checkpoints=checkpoints,
                    make_writer=writer_from,
                    log_every_steps=config.log_every_steps,
                    checkpoint_every_s=config.checkpoint.every_s,
                    nonfinite_steps=stage.nonfinite_steps,
                    samples=samples_of,
                )
            )
    finally:
        checkpoints.close()
    # All processes take part in gathering what is split over devices (`mesh.split_state`).
    weights = jax.device_get(jax.device_put(predicting_weights(state), sharding.replicated(mesh)))
    description = Description(
        network=stage.network,
        options=options,
        num_classes=len(classes),
        source=TRAINED_HERE,
        source_sha256="",
        preprocessing=recipe.augmentation.preprocessing,
        classes=data.classes,
        palette=data.palette,
        official_ids=data.official_ids,
        dtype=stage.dtype,
        method="supervised",
        steps=steps,
        origin=model_file.origin(artifact, data.name, teacher_sha256),
    )
    trained = model_file.save(artifact, net, weights, description)
    if not artifact.done:
        artifact.finish(
            {
                "network": stage.network,
                "steps": steps,
                "weights_sha256": trained.sha256,
                "wall_s": time.perf_counter() - begin,
                "compilations": _compilations(distinct_phases(phases), compilations),
            }
        )
    return trained


def _compilations(planned: Sequence[Any], made: Sequence[Any]) -> dict[str, Any]:
    """How many steps were compiled in the process that finished the stage, out of how many distinct phases."""
    return {
        "distinct_phases": len(planned),
        "count": len(made),
        "phases": [dataclasses.asdict(compilation) for compilation in made],
    }


def _announce(artifact: Artifact, net: Network, phases: Sequence[Any], sources: Sequence[LabelledSource]) -> None:
    """Devices, parameters and plan; the parameters' full table goes to a file, as it is longer than a screen."""
    from clu import parameter_overview

    name = artifact.directory.name
    overview = parameter_overview.get_parameter_overview(net.params, include_stats=False)
    (artifact.directory / PARAMETERS_FILE).write_text(overview + "\n", encoding="utf-8")
    by_module: dict[str, int] = {}
    for path, value in net.params.items():
        module = path.partition(".")[0]
        by_module[module] = by_module.get(module, 0) + value.size
    devices = ", ".join(f"{d.device_kind} {d.id}" for d in jax.devices())
    images = " + ".join(
        f"{len(labelled.records)} {kind}" for labelled, kind in zip(sources, ("real", "pseudo"), strict=False)
    )
    sizes = ", ".join(f"{p.crop_px} px x {p.global_batch}" for p in distinct_phases(phases))
    log.info("%s: %d devices (%s), %d processes", name, jax.device_count(), devices, jax.process_count())
    log.info(
        "%s: %s parameters (%s); all of them in %s",
        name,
        f"{sum(by_module.values()):,}",
        ", ".join(f"{module} {count:,}" for module, count in by_module.items()),
        PARAMETERS_FILE,
    )
    steps = sum(p.steps for p in phases)
    log.info("%s: %s images, %d epochs, %d steps, crops %s", name, images, len(phases), steps, sizes)
