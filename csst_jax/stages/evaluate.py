"""Evaluation of a trained network on the validation split, at original resolution."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from csst_jax import build
from csst_jax.data.encoded import decode_label
from csst_jax.evaluation.confusion import ConfusionMatrix
from csst_jax.evaluation.pictures import colour, contact_sheet
from csst_jax.stages.artifact import read_json

if TYPE_CHECKING:
    import pathlib

    from ml_collections import ConfigDict

    from csst_jax.data.selection import Selection
    from csst_jax.stages.artifact import Artifact
    from csst_jax.stages.train import Trained

log = logging.getLogger(__name__)


def run(artifact: Artifact, config: ConfigDict, selection: Selection, trained: Trained) -> dict[str, Any]:
    """{"miou": …, "iou": {class: …}} of one network, computed or read from the finished artifact."""
    if artifact.done:
        return artifact.result
    begin = time.perf_counter()
    description = selection.dataset.description
    predictor = build.predictor(config, config.evaluate, trained.network, trained.weights, trained.expects)
    confusion = ConfusionMatrix(description.classes)
    # Every process evaluates its share of the images; the integer counts add up to the same in any split.
    mine = selection.labelled[jax.process_index() :: jax.process_count()]
    for prediction in predictor(selection.source, mine):
        label = decode_label(selection.source.label_bytes(prediction.record))
        confusion.update(label[None], prediction.classes[None])
    if jax.process_count() > 1:
        # int64 does not cross `process_allgather` while JAX is in 32-bit mode: send it as bytes.
        counts = multihost_utils.process_allgather(confusion.matrix.view(np.uint8))
        confusion.matrix = np.asarray(counts).view(np.int64).reshape(-1, *confusion.matrix.shape).sum(0)
    result = {**confusion.result(), "images": len(selection.labelled), "wall_s": time.perf_counter() - begin}
    log.info("%s: mIoU %.2f %% on %d images", artifact.directory.name, 100 * result["miou"], result["images"])
    if jax.process_index() == 0:
        artifact.finish(result)
    return result


def draw(path: pathlib.Path, config: ConfigDict, selection: Selection, trained: dict[str, Trained]) -> None:
    """A contact sheet: some validation images, their masks, and each network's prediction."""
    description = selection.dataset.description
    count = min(config.evaluate.num_pictures, len(selection.labelled))
    chosen = [selection.labelled[i] for i in np.linspace(0, len(selection.labelled) - 1, count).round().astype(int)]
    ids = selection.dataset.ids(selection.split)
    rows: list[list[Any]] = []
    for record in chosen:
        label = decode_label(selection.source.label_bytes(record))
        rows.append([("mask", colour(label, description.palette))])
    for name, network in trained.items():
        predictor = build.predictor(config, config.evaluate, network.network, network.weights, network.expects)
        for row, prediction in zip(rows, predictor(selection.source, chosen), strict=True):
            if len(row) == 1:
                row.insert(0, (ids[prediction.record], prediction.image))
            row.append((name, colour(prediction.classes, description.palette)))
    contact_sheet(rows, path, description=description)


def read_result(directory: pathlib.Path) -> dict[str, Any] | None:
    """A finished stage's result; None where there is none."""
    done = directory / "DONE"
    return read_json(done) if done.exists() else None
