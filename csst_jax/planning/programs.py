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
from csst_jax.evaluation.whole_image import padded_size, predict_program
from csst_jax.models.layers import OneValueError
from csst_jax.planning.cost import ProgramCost, needed_bytes, program_cost
from csst_jax.settings import rounds
from csst_jax.train import sharding
from csst_jax.train.compile import distinct_phases
from csst_jax.train.step import step_program
from csst_jax.types import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from csst_jax.evaluation.whole_image import Averaging
    from csst_jax.models.nnx_io import Network
    from csst_jax.models.preprocessing import Preprocessing
    from csst_jax.settings.run import Run
    from csst_jax.settings.training import Training
    from csst_jax.train.step import Recipe

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class DataSize:
    """What a plan must know of the data set.

    Attributes:
      labelled: images with a mask that count as labelled.
      unlabelled: all other images of the training split.
      validation: images to evaluate on.
      classes: of the labels.
      image_px: height and width of the largest validation image.
      pool_px: likewise of the images that are labelled; these, too, are predicted whole.
    """

    labelled: int
    unlabelled: int
    validation: int
    classes: int
    image_px: tuple[int, int]
    pool_px: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Work:
    """One program of the run, and how often it runs.

    Attributes:
      name: the stage, and for predictions whose.
      size_px: height and width of its images, with what pads them.
      batch: images a step over the devices that share it.
      devices: how many these are; the batch is a multiple of their `data` axis.
      unit: smallest batch, of which all are multiples.
      epochs: in which it runs; 0 for predictions.
      steps: how often it runs.
      loops: how often the body of its loop over micro-batches, or over images, mirror images and windows, runs a step;
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


def programs(run: Run, data: DataSize, devices: Sequence[jax.Device]) -> list[Work]:
    """The programs of the stages that a run asks for, in their order.

    Args:
      run: its settings.
      data: the data set's numbers.
      devices: all devices of all processes.

    Raises:
      CsstError: a setting that the run would refuse as well.
    """
    mesh = build.mesh(run.mesh, devices)
    trainings = _trainings(run, data, mesh)
    expects = {name: training.network.preprocessing for name, training in trainings.items()}
    networks = functools.cache(lambda name: build.network(trainings[name].network, data.classes, seed=None))
    found: list[Work] = []

    def trained(name: str, kind: str, unlabelled: int = data.unlabelled) -> Iterator[Work]:
        training = trainings[kind]
        count = build.num_images(training, data.labelled, unlabelled, pseudo=kind == "student")
        recipe = build.recipe(training, data.classes, None, run.mesh, mesh)
        return _training(name, training, recipe, build.phases(training, count, mesh))

    def predicted(
        name: str, kind: str, averaging: Averaging, count: int, image_px: tuple[int, int], ranks: int = 1
    ) -> Work:
        net = networks("teacher" if kind == "baseline" else kind)
        return _prediction(name, run, averaging, net, expects[kind], count, image_px, devices, ranks)

    if "teacher" in run.stages:
        found += trained("teacher", "teacher")
    turns = rounds.of(run.rounds if "student" in run.stages else 1)
    for turn in turns:
        where = f", round {turn.number}" if len(turns) > 1 else ""
        settings = rounds.labelling(run.label, turn)
        if "label" in run.stages:
            kind = turn.teacher.rpartition("/")[2]
            if settings.reliable_share:
                plain, count = settings.averaging.plain(), (run.teacher.snapshots + 1) * data.unlabelled
                found.append(predicted(f"reliability{where}", kind, plain, count, data.pool_px))
            label = (f"label{where}", kind, settings.averaging, data.unlabelled, data.pool_px)
            found.append(predicted(*label, settings.ranks))
        if "student" in run.stages:
            found += trained(f"student{where}", "student", rounds.num_reliable(settings, data.unlabelled))
    if "baseline" in run.stages:
        found += trained("baseline", "baseline")
    if "evaluate" in run.stages:
        for name in [name for name in trainings if name in run.stages]:
            count = data.validation * (len(turns) if name == "student" else 1)
            found.append(predicted(f"evaluate {name}", name, run.evaluate.averaging, count, data.image_px))
    return found


def _trainings(run: Run, data: DataSize, mesh: jax.sharding.Mesh) -> dict[str, Training]:
    """The training stages; the baseline's is as long as the student's."""
    found = {"teacher": run.teacher, "student": run.student}
    if "baseline" in run.stages:
        count = build.num_images(run.student, data.labelled, data.unlabelled, pseudo=True)
        steps = sum(phase.steps for phase in build.phases(run.student, count, mesh))
        real = build.num_images(run.teacher, data.labelled, data.unlabelled, pseudo=False)
        found["baseline"] = build.lengthened(run.teacher, real, steps, mesh, run.longer_by)
    return found


def _training(name: str, training: Training, recipe: Recipe, phases: Sequence[Phase]) -> Iterator[Work]:
    def lower(crop_px: int, batch: int) -> jax.stages.Lowered:
        return step_program(recipe, Phase(crop_px, batch, steps=1)).lower()

    for phase in distinct_phases(phases):
        epochs = [other for other in phases if other.compile_key == phase.compile_key]
        yield Work(
            name,
            (phase.crop_px, phase.crop_px),
            phase.global_batch,
            recipe.mesh.size,
            build.batch_unit(training, recipe.mesh),
            len(epochs),
            sum(other.steps for other in epochs),
            training.accumulate,
            functools.partial(lower, phase.crop_px),
        )


def _prediction(
    name: str,
    run: Run,
    averaging: Averaging,
    net: Network,
    expects: Preprocessing,
    images: int,
    image_px: tuple[int, int],
    devices: Sequence[jax.Device],
    ranks: int,
) -> Work:
    """Each process predicts its share of the images on its own devices."""
    mine = [device for device in devices if device.process_index == devices[0].process_index]
    mesh = sharding.make_mesh(mine, build.mesh(run.mesh, devices).shape[sharding.SPATIAL])
    unit = mesh.shape[sharding.DATA]
    batch = -(-run.evaluate.batch_size // unit) * unit
    share = -(-images * len(mine) // len(devices))
    a = averaging
    height, width = padded_size(image_px, a.pad_px)
    image_px = (height, width)
    windows = [len(inference.windows(image_px, scale, a.window_px, a.window_overlap)[1]) for scale in a.scales]
    return Work(
        name,
        image_px,
        batch,
        mesh.size,
        unit,
        0,
        -(-share // batch),
        batch // unit * (2 if a.flip else 1) * sum(windows) / len(windows),
        lambda batch: predict_program(
            net,
            averaging=averaging,
            preprocessing=expects,
            batch_size=batch,
            image_size=image_px,
            mesh=mesh,
            ranks=ranks,
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
        """Whether `work` can be done with a batch, and fits the device's memory."""
        try:
            return self(work, batch).cost is not None
        except OneValueError:  # one crop, which no layer that pools it can normalise
            return False


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
