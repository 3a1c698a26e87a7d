"""Scores and pictures of a few validation images while a stage trains: to look at, and to choose nothing by."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import logging
import math
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from PIL import Image

from csst_jax import build
from csst_jax.data.stored import encoded
from csst_jax.evaluation import pictures
from csst_jax.evaluation.matrix_picture import confusion_picture
from csst_jax.evaluation.scores import Scores
from csst_jax.runtime import peers
from csst_jax.runtime.json_files import read_json, write_json
from csst_jax.runtime.patience import told
from csst_jax.stages import model_file
from csst_jax.train.timetable import Timetable
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clu.metric_writers import MetricWriter

    from csst_jax.data.selection import Selection
    from csst_jax.evaluation.whole_image import Averaging
    from csst_jax.runtime.storage import StoragePath
    from csst_jax.settings.run import Evaluation
    from csst_jax.stages.experiment import Experiment
    from csst_jax.train.step import Recipe
    from csst_jax.train_state import TrainState
    from csst_jax.types import Phase

log = logging.getLogger(__name__)

DIRECTORY = "while_training"
"""In the stage's; `scores.json` and pictures."""
SCORES_FILE = "scores.json"
_TIMES = 5
_SHARE = 0.1
"""Pixels predicted, of the pixels trained on: predicting one takes a third of training on it or less, so that scores
take at most 5 % of the time (docs/while_it_trains.md has measurements)."""
_NUM_PICTURES = 2
_PICTURE_PX = 480


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is scored, and when.

    Attributes:
      steps: after which.
      records: validation images, all of one size, so that there is one program.
      size: theirs, (height, width).
    """

    steps: tuple[int, ...]
    records: tuple[int, ...]
    size: tuple[int, int]


def plan(settings: Evaluation, selection: Selection, phases: Sequence[Phase]) -> Plan | None:
    """What to score while a stage of these phases trains; depends on the arguments alone. None for nothing."""
    if not settings.every_epochs or not phases:
        return None
    sizes = {record: encoded.size(selection.reader.label_bytes(record)) for record in selection.labelled}
    pad_px = settings.averaging.pad_px
    padded = {record: tuple(-(-side // pad_px) * pad_px for side in size) for record, size in sizes.items()}
    common = collections.Counter(padded.values()).most_common(1)[0][0]
    fitting = [record for record, size in padded.items() if size == common]
    count, epochs = min(settings.images_while_training, len(fitting)), _epochs(settings.every_epochs, len(phases))
    if settings.every_epochs < 0:
        trained = sum(phase.steps * phase.global_batch * phase.crop_px**2 for phase in phases)
        batch = settings.batch_size  # a short one is filled up, and costs as much
        batches = int(_SHARE * trained / (batch * common[0] * common[1] * _cost(settings.averaging)))
        times = min(_TIMES, len(phases), batches)
        if times < 1:
            return None
        epochs, count = _evenly(times, len(phases)), min(count, batches // times * batch)
    timetable = Timetable(phases)
    records = tuple(fitting[i] for i in np.linspace(0, len(fitting) - 1, count).round().astype(int))
    return Plan(tuple(timetable.end(epoch) for epoch in epochs), records, (common[0], common[1]))


def _epochs(every: int, total: int) -> list[int]:
    """Epochs (from 0) after which there is a score; the last one is among them."""
    return sorted({*range(every - 1, total, every), total - 1}) if every > 0 else []


def _evenly(times: int, total: int) -> list[int]:
    return sorted({math.ceil(total * k / times) - 1 for k in range(1, times + 1)})


def _cost(averaging: Averaging) -> float:
    """Pixels that the network sees for each of an image."""
    overlap = (1 - averaging.window_overlap) ** -2 if averaging.window_px else 1
    return sum(scale**2 for scale in averaging.scales) * (2 if averaging.flip else 1) * overlap


def watch(this: Experiment, name: str, recipe: Recipe, phases: Sequence[Phase]) -> ScoresWhileTraining | None:
    """What scores a stage while it trains; None where there is nothing to score or it would take too long."""
    planned = plan(this.settings.evaluate, this.validation, phases)
    if planned is None:
        if this.settings.evaluate.every_epochs:
            log.info("%s: too short to score validation images while it trains (evaluate.every_epochs)", name)
        return None
    log.info(
        "%s: %d of %d validation images are scored %d times while it trains; these scores choose nothing",
        name,
        len(planned.records),
        len(this.validation.labelled),
        len(planned.steps),
    )
    return ScoresWhileTraining(this, name, recipe, planned, Timetable(phases))


class ScoresWhileTraining:
    """See `csst_jax.train.watch.Watch`. The program is the evaluation's, which finds it compiled in the cache."""

    def __init__(self, this: Experiment, name: str, recipe: Recipe, planned: Plan, timetable: Timetable):
        """Reads what an earlier process has scored.

        Args:
          this: the run.
          name: of the stage.
          recipe: of its step; predicts with what its method says.
          planned: what to score.
          timetable: of the stage.
        """
        self._this, self._name, self._recipe, self._plan, self._timetable = this, name, recipe, planned, timetable
        self._directory: StoragePath = this.workdir / name / DIRECTORY
        self._executor = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="compile-scores")
        self._compiling: concurrent.futures.Future[None] | None = None
        self._off = False
        network, settings = recipe.method.parts.network, this.settings
        self._predictor = build.predictor(
            settings.evaluate.averaging,
            network,
            ({}, {}),
            recipe.augmentation.preprocessing,
            settings.evaluate.batch_size,
            settings.mesh,
            window_key="evaluate.window_px",
        )
        self._found: list[dict[str, Any]] = []

    def begin(self, start: int) -> None:
        """Takes up the scores that are there, if they are of the same images."""
        path = self._directory / SCORES_FILE
        kept = read_json(path) if path.exists() else {"images": [], "scores": []}
        same = kept["images"] == list(self._this.validation.ids(self._plan.records))
        self._found = [score for score in kept["scores"] if score["step"] <= start] if same else []

    def prepare(self) -> None:
        """See `Watch`."""
        if any(map(self.due, self._plan.steps)):
            self._compiling = self._executor.submit(self._predictor.compile, self._plan.size)

    def due(self, step: int) -> bool:
        """See `Watch`."""
        return not self._off and step in self._plan.steps and step not in {score["step"] for score in self._found}

    def close(self) -> None:
        """See `Watch`."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def look(self, step: int, state: TrainState, writer: MetricWriter, given_up: Callable[[], bool]) -> None:
        """Scores, logs, and keeps scores and pictures. What fails turns scores off, and training goes on."""
        begin = time.perf_counter()
        classes = self._this.description.classes
        scores, problem = Scores(classes, len(self._plan.records), 0.0), ""
        shown: dict[int, Any] = {}
        weights = self._weights(state)
        try:
            with told(f"{self._name}: scoring {len(self._plan.records)} validation images"):
                whole = self._count(weights, scores, shown, given_up)
        except (CsstError, jax.errors.JaxRuntimeError) as error:  # out of memory, beside the training step
            whole, problem = True, str(error).partition("\n")[0]
        self._predictor.take({}, {})
        if not whole:
            return
        if not _added_up(scores, ok=not problem) or not scores.confusion.matrix.any():
            self._off = True
            why = problem or "another process could not, or these images show no class"
            log.warning(
                "%s: no more scores while training (%s); evaluate.every_epochs=0 turns them off", self._name, why
            )
            return
        self._keep(step, scores, shown, writer, time.perf_counter() - begin)

    def _weights(self, state: TrainState) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Those that predict, whole, in memory of their own: the state's own is given to the next step."""
        return jax.tree.map(np.array, model_file.predicting(self._recipe, state))

    def _count(
        self, weights: tuple[Any, Any], scores: Scores, shown: dict[int, Any], given_up: Callable[[], bool]
    ) -> bool:
        """Counts this process's share of the images; False where it was given up."""
        if self._compiling is not None:
            while not concurrent.futures.wait([self._compiling], 0.2).done:
                if given_up():
                    return False
            self._compiling.result()
        self._predictor.take(*weights)
        mine = self._plan.records[jax.process_index() :: jax.process_count()]
        reader = self._this.validation.reader
        for prediction in self._predictor(reader, mine):
            label = encoded.decode_label(reader.label_bytes(prediction.record))
            scores.update(self._plan.records.index(prediction.record), label, prediction.classes)
            if len(shown) < _NUM_PICTURES:
                shown[prediction.record] = (prediction.image, label, prediction.classes)
            if given_up():
                return False
        return True

    def _keep(self, step: int, scores: Scores, shown: dict[int, Any], writer: MetricWriter, seconds: float) -> None:
        found = scores.confusion.result()
        epoch, count = self._timetable.epoch(step - 1) + 1, len(self._plan.records)
        self._found.append(
            {
                "step": step,
                "epoch": epoch,
                **{k: found[k] for k in ("miou", "pixel_accuracy", "iou")},
                "seconds": seconds,
            }
        )
        images = f"{count} validation image{'s' * (count != 1)}"
        log.info("%s %d: mIoU %.1f %% on %s", self._name, step, 100 * found["miou"], images)
        if jax.process_index():
            return
        by_class = {f"score_iou_{name}": value for name, value in found["iou"].items() if value is not None}
        total = {f"score_{key}": found[key] for key in ("miou", "pixel_accuracy")}
        writer.write_scalars(step, total | by_class)
        palette = self._this.description.palette
        rows = []
        for number, (image, label, classes) in enumerate(shown.values()):
            parts = [image, pictures.colour(label, palette), pictures.colour(classes, palette)]
            small = [_small(part) for part in parts]
            rows.append(np.concatenate(small, axis=1))
            for kind, part in zip(("image", "mask", f"{step:08d}"), small, strict=True):
                drawn = Image.fromarray(part)
                pictures.save_png(
                    drawn if kind == "image" else drawn.quantize(256), self._directory / f"{number}_{kind}.png"
                )
        for number, row in enumerate(rows):
            writer.write_images(step, {f"image_mask_prediction/{number}": row[None]})
        matrix = confusion_picture(scores.confusion.matrix, self._this.description.classes)
        writer.write_images(step, {"confusion_matrix": np.asarray(matrix)[None]})
        ids = self._this.validation.ids(self._plan.records)
        shown_ids = self._this.validation.ids(tuple(shown))
        write_json(self._directory / SCORES_FILE, {"images": ids, "shown": shown_ids, "scores": self._found})


def _small(array: np.ndarray) -> np.ndarray:
    """At most so wide; pixels are copied, so that colours of classes stay."""
    scale = min(1.0, _PICTURE_PX / array.shape[1])
    size = (round(array.shape[1] * scale), max(1, round(array.shape[0] * scale)))  # a strip of a scan, for example
    return np.asarray(Image.fromarray(array).resize(size, Image.Resampling.NEAREST))


def _added_up(scores: Scores, ok: bool) -> bool:
    """Adds up what all processes counted; whether all of them could."""
    found = peers.counts_of_all(np.concatenate([np.array([ok], np.int64), scores.counts]))
    scores.counts = found[:, 1:].sum(0)
    return bool(found[:, 0].all())
