"""Every program of a run, compiled and not run: what it costs, and the largest batch that fits."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import time
from typing import TYPE_CHECKING

import jax

from csst_jax import build
from csst_jax.evaluation import inference
from csst_jax.evaluation.whole_image import predict_program
from csst_jax.planning.cost import ProgramCost, needed_bytes, program_cost
from csst_jax.train import sharding
from csst_jax.train.compile import distinct_phases
from csst_jax.train.step import step_program
from csst_jax.types import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ml_collections import ConfigDict

    from csst_jax.models.nnx_io import Network
    from csst_jax.models.preprocessing import Preprocessing

log = logging.getLogger(__name__)

_NETWORKS = ("teacher", "student", "baseline")


@dataclasses.dataclass(frozen=True)
class DataSize:
    """What a plan must know of the data set.

    Attributes:
      labelled: images with a mask that count as labelled.
      unlabelled: all other images of the training split.
      validation: images to evaluate on.
      classes: of the labels.
      image_px: height and width of the images that are predicted whole.
    """

    labelled: int
    unlabelled: int
    validation: int
    classes: int
    image_px: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Work:
    """One program of the run, and how often it runs.

    Attributes:
      name: the stage, and for predictions whose.
      size_px: height and width of its images.
      batch: images a step over the devices that share it.
      devices: how many these are; the batch is a multiple of their `data` axis.
      unit: smallest batch, of which all are multiples.
      epochs: in which it runs; 0 for predictions.
      steps: how often it runs.
      loops: how often the body of its loop over micro-batches, or over images, mirror images and tiles, runs a step;
        the compiler counts it once. The mean over scales, which have a body each.
      lower: from a batch to the lowered program.
    """

    name: str
    size_px: tuple[int, int]
    batch: int
    devices: int
    unit: int
    epochs: int
    steps: int
    loops: float
    lower: Callable[[int], jax.stages.Lowered]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the compiler made of a program.

    Attributes:
      cost: None where it does not fit.
      needed_bytes: memory that the compiler asked for where it does not fit; None where it does not say.
      seconds: wall seconds to compile, or to be refused.
    """

    cost: ProgramCost | None
    needed_bytes: int | None
    seconds: float


def programs(config: ConfigDict, stages: set[str], data: DataSize, devices: Sequence[jax.Device]) -> list[Work]:
    """The programs of the stages that a run asks for, in their order.

    Args:
      config: the run's.
      stages: of teacher, label, student, baseline, evaluate.
      data: the data set's numbers.
      devices: all devices of all processes.

    Raises:
      CsstError: a setting that the run would refuse as well.
    """
    mesh = build.mesh(config, devices)
    settings = {"teacher": config.teacher, "student": config.student, "baseline": config.teacher}
    images = {"teacher": data.labelled, "student": data.labelled + data.unlabelled, "baseline": data.labelled}
    networks = functools.cache(lambda key: build.network(config[key], data.classes, seed=None))
    net = {name: networks("student" if name == "student" else "teacher") for name in _NETWORKS if name in stages}
    found: list[Work] = []
    for name in _NETWORKS:
        stage = settings[name]
        if name == "baseline" and name in stages:
            steps = sum(phase.steps for phase in build.phases(config.student, images["student"], mesh))
            stage = build.lengthened(stage, images[name], steps, mesh, config.baseline.longer_by)
        if name in stages:
            found += _training(name, config, stage, net[name], build.phases(stage, images[name], mesh), mesh)
        if name == "teacher" and "label" in stages:
            teacher, expects = networks("teacher"), build.preprocessing(config, config.teacher)
            found.append(_prediction("label", config, config.label, teacher, expects, data.unlabelled, data, devices))
    if "evaluate" in stages:
        for name in net:
            expects, count = build.preprocessing(config, settings[name]), data.validation
            work = _prediction(f"evaluate {name}", config, config.evaluate, net[name], expects, count, data, devices)
            found.append(work)
    return found


def _training(
    name: str, config: ConfigDict, stage: ConfigDict, net: Network, phases: Sequence[Phase], mesh: jax.sharding.Mesh
) -> Iterator[Work]:
    recipe = build.recipe(config, stage, net, mesh)

    def lower(crop_px: int, batch: int) -> jax.stages.Lowered:
        return step_program(recipe, Phase(crop_px, batch, steps=1)).lower()

    for phase in distinct_phases(phases):
        epochs = [other for other in phases if other.compile_key == phase.compile_key]
        yield Work(
            name,
            (phase.crop_px, phase.crop_px),
            phase.global_batch,
            mesh.size,
            build.batch_unit(stage, mesh),
            len(epochs),
            sum(other.steps for other in epochs),
            stage.accumulate,
            functools.partial(lower, phase.crop_px),
        )


def _prediction(
    name: str,
    config: ConfigDict,
    how: ConfigDict,
    net: Network,
    expects: Preprocessing,
    images: int,
    data: DataSize,
    devices: Sequence[jax.Device],
) -> Work:
    """Each process predicts its share of the images on its own devices."""
    mine = [device for device in devices if device.process_index == devices[0].process_index]
    mesh = sharding.make_mesh(mine, build.mesh(config, devices).shape[sharding.SPATIAL])
    unit = mesh.shape[sharding.DATA]
    batch = -(-config.evaluate.batch_size // unit) * unit
    share = -(-images * len(mine) // len(devices))
    tiles = [len(inference.tiles(data.image_px, scale, how.tile_px, how.tile_overlap)[1]) for scale in how.scales]
    return Work(
        name,
        data.image_px,
        batch,
        mesh.size,
        unit,
        0,
        -(-share // batch),
        batch // unit * (2 if how.flip else 1) * sum(tiles) / len(tiles),
        lambda batch: predict_program(
            net,
            averaging=build.averaging(how),
            preprocessing=expects,
            batch_size=batch,
            image_size=data.image_px,
            mesh=mesh,
        ).lower(),
    )


class Compiler:
    """Compiles each distinct program once."""

    def __init__(self) -> None:
        self._known: dict[str, Outcome] = {}

    def __call__(self, work: Work, batch: int) -> Outcome:
        """Compiles `work` with a batch; running out of the device's memory is an outcome, not an error."""
        lowered = work.lower(batch)
        key = hashlib.sha256(lowered.as_text().encode()).hexdigest()
        if key not in self._known:
            log.info("compiling %s, %d x %d px, batch %d", work.name, *work.size_px, batch)
            begin = time.perf_counter()
            cost, needed = _compile(lowered)
            self._known[key] = Outcome(cost, needed, time.perf_counter() - begin)
        return self._known[key]

    def fits(self, work: Work, batch: int) -> bool:
        """Whether `work` with a batch fits the device's memory."""
        return self(work, batch).cost is not None


def _compile(lowered: jax.stages.Lowered) -> tuple[ProgramCost | None, int | None]:
    try:
        return program_cost(lowered.compile()), None
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None, needed_bytes(str(error))


def largest_batch(fits: Callable[[int], bool], batch: int, unit: int) -> int:
    """The largest multiple of `unit` that fits, by doubling and halving; 0 where none does.

    Args:
      fits: whether a batch does; if one does, all smaller ones are taken to.
      batch: where to begin, a multiple of `unit`.
      unit: the smallest batch.
    """
    low, high = 0, batch
    while fits(high):
        low, high = high, 2 * high
    while high - low > unit:
        middle = (low + high) // unit // 2 * unit
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
