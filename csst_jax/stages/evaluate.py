"""Evaluation of a trained network on a split, at original resolution: scores, and pictures of where it fails."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from csst_jax import build
from csst_jax.data.stored.encoded import decode_label
from csst_jax.evaluation.pictures import colour, contact_sheet, difference
from csst_jax.evaluation.scores import Scores
from csst_jax.models.weights.files import add_scores
from csst_jax.models.weights.locate import MODEL_FILE
from csst_jax.runtime.json_files import read_json
from csst_jax.stages.artifact import DONE_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ml_collections import ConfigDict

    from csst_jax.data.selection import Selection
    from csst_jax.evaluation.whole_image import Prediction
    from csst_jax.runtime.storage import Place
    from csst_jax.stages.artifact import Artifact
    from csst_jax.stages.model_file import Trained

log = logging.getLogger(__name__)


def run(artifact: Artifact, config: ConfigDict, selection: Selection, trained: Trained) -> dict[str, Any]:
    """The scores of one network (see `score`), computed or read from the finished artifact, and put into its file.

    Args:
      artifact: in the directory of the network's training stage.
      config: the run's.
      selection: the split.
      trained: the network.
    """
    if artifact.done:
        _note_scores(artifact, selection, trained)
        return artifact.result
    begin = time.perf_counter()
    found = score(config, selection, trained, selection.labelled)
    result = {**found, "images": len(selection.labelled), "wall_s": time.perf_counter() - begin}
    log.info("%s: mIoU %.2f %% on %d images", artifact.directory.name, 100 * result["miou"], result["images"])
    if jax.process_index() == 0:
        artifact.finish(result)
        _note_scores(artifact, selection, trained)
    return result


def _note_scores(artifact: Artifact, selection: Selection, trained: Trained) -> None:
    """The network's file has the scores as well; after a kill between the two it gets them when the run goes on."""
    found = artifact.result
    scores = {"split": selection.split, **{key: found[key] for key in ("images", "miou", "iou")}}
    if jax.process_index() == 0 and trained.description.scores != scores:
        add_scores(artifact.directory.parent / MODEL_FILE, scores)


def score(
    config: ConfigDict,
    selection: Selection,
    trained: Trained,
    records: Sequence[int],
    writers: Sequence[Callable[[Prediction], None]] = (),
) -> dict[str, Any]:
    """Predicts images and scores those that have a mask.

    Args:
      config: the run's; `config.evaluate` says how images are predicted and what is counted.
      selection: the split; all its labelled images are to be among `records`.
      trained: the network.
      records: images to predict; every process predicts its share.
      writers: called with each prediction of this process.

    Returns:
      See `Scores.result`; the same on any number of devices and processes, as what is added up are integers. Empty if
      no image has a mask.
    """
    predictor = build.predictor(config, config.evaluate, trained.network, trained.weights, trained.expects)
    positions = {record: position for position, record in enumerate(selection.labelled)}
    scores = Scores(selection.dataset.description.classes, len(positions), config.evaluate.boundary_ratio)
    for prediction in predictor(selection.source, records[jax.process_index() :: jax.process_count()]):
        if prediction.record in positions:
            label = decode_label(selection.source.label_bytes(prediction.record))
            scores.update(positions[prediction.record], label, prediction.classes)
        for write in writers:
            write(prediction)
    if jax.process_count() > 1:
        # int64 does not cross `process_allgather` while JAX is in 32-bit mode: send it as bytes.
        gathered = multihost_utils.process_allgather(scores.counts.view(np.uint8))
        scores.counts = np.asarray(gathered).view(np.int64).sum(0)
    return scores.result(selection.ids(selection.labelled)) if positions else {}


def draw(path: Place, config: ConfigDict, selection: Selection, trained: Mapping[str, Trained]) -> None:
    """A contact sheet (Fig. 6): images, their masks, each network's prediction, and where the last one is wrong."""
    count = min(config.evaluate.num_pictures, len(selection.labelled))
    chosen = [selection.labelled[i] for i in np.linspace(0, len(selection.labelled) - 1, count).round().astype(int)]
    ids = selection.ids(tuple(chosen))
    contact_sheet(
        _rows(config, selection, trained, dict(zip(chosen, ids, strict=True))),
        path,
        description=selection.dataset.description,
    )


def draw_failures(
    path: Place, config: ConfigDict, selection: Selection, name: str, trained: Trained, worst: Mapping[str, Any]
) -> None:
    """A contact sheet of the image in which each class is worst (Fig. 7).

    Args:
      path: the file.
      config: the run's.
      selection: the split.
      name: of the network.
      trained: the network.
      worst: `worst` of its scores.
    """
    records = {image_id: record for record, image_id in enumerate(selection.dataset.ids(selection.split))}
    captions: dict[int, str] = {}
    for klass, found in worst.items():
        record, image_id = records[found["image"]], found["image"]
        said = f"{klass} IoU {100 * found['iou']:.0f} %"
        captions[record] = f"{captions[record]}, {said}" if record in captions else f"{image_id}: {said}"
    rows = _rows(config, selection, {name: trained}, captions)
    contact_sheet(rows, path, description=selection.dataset.description)


def _rows(
    config: ConfigDict, selection: Selection, trained: Mapping[str, Trained], captions: Mapping[int, str]
) -> list[list[tuple[str, np.ndarray]]]:
    """Image, mask, predictions and the last one's difference of the records that have a caption."""
    palette = selection.dataset.description.palette
    labels = [decode_label(selection.source.label_bytes(record)) for record in captions]
    rows: list[list[tuple[str, np.ndarray]]] = [[("mask", colour(label, palette))] for label in labels]
    for name, network in trained.items():
        predictor = build.predictor(config, config.evaluate, network.network, network.weights, network.expects)
        predictions = predictor(selection.source, list(captions))
        for row, label, prediction in zip(rows, labels, predictions, strict=True):
            if len(row) == 1:
                row.insert(0, (captions[prediction.record], prediction.image))
            row.append((name, colour(prediction.classes, palette)))
            if name == list(trained)[-1]:
                row.append((f"where {name} is wrong", difference(label, prediction.classes)))
    return rows


def read_result(directory: Place) -> dict[str, Any] | None:
    """A finished stage's result; None where there is none."""
    done = directory / DONE_FILE
    return read_json(done) if done.exists() else None
