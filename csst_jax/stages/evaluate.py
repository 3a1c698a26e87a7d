"""Evaluation of a trained network on a split, at original resolution: scores, and pictures of where it fails."""

from __future__ import annotations

import dataclasses
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
from csst_jax.runtime.patience import told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from csst_jax.data.selection import Selection
    from csst_jax.evaluation.whole_image import Prediction
    from csst_jax.runtime.storage import StoragePath
    from csst_jax.settings.run import Evaluation, Mesh
    from csst_jax.stages.artifact import Artifact
    from csst_jax.stages.experiment import Experiment
    from csst_jax.stages.model_file import Trained

log = logging.getLogger(__name__)


def run(this: Experiment, artifact: Artifact, trained: Trained) -> dict[str, Any]:
    """The scores of one network (see `Judge.score`), computed or read from the finished artifact; put into its file.

    Args:
      this: the run.
      artifact: in the directory of the network's training stage.
      trained: the network.
    """
    name = artifact.directory.parent.name
    if artifact.done:
        _note_scores(artifact, this.validation.split, trained)
        return artifact.result
    begin = time.perf_counter()
    found = judge(this).score(trained, this.validation.labelled)
    result = {**found, "images": len(this.validation.labelled), "wall_s": time.perf_counter() - begin}
    log.info("%s: mIoU %.2f %% on %d images", name, 100 * result["miou"], result["images"])
    if jax.process_index() == 0:
        artifact.finish(result)
        _note_scores(artifact, this.validation.split, trained)
    return result


def _note_scores(artifact: Artifact, split: str, trained: Trained) -> None:
    """The network's file has the scores as well; after a kill between the two it gets them when the run goes on."""
    found = artifact.result
    scores = {"split": split, **{key: found[key] for key in ("images", "miou", "iou")}}
    if jax.process_index() == 0 and trained.description.scores != scores:
        add_scores(artifact.directory.parent / MODEL_FILE, scores)


def judge(this: Experiment) -> Judge:
    """Of a run's networks on its validation split."""
    return Judge(this.settings.evaluate, this.settings.mesh, this.validation)


@dataclasses.dataclass(frozen=True)
class Judge:
    """Scores networks on a split, and draws what they predict there.

    Attributes:
      settings: how images are predicted, and what is counted.
      mesh: how devices share an image.
      selection: the split.
    """

    settings: Evaluation
    mesh: Mesh
    selection: Selection

    def score(
        self, trained: Trained, records: Sequence[int], writers: Sequence[Callable[[Prediction], None]] = ()
    ) -> dict[str, Any]:
        """Predicts images and scores those that have a mask.

        Args:
          trained: the network.
          records: images to predict, all labelled ones among them; every process predicts its share.
          writers: called with each prediction of this process.

        Returns:
          See `Scores.result`; the same on any number of devices and processes, as what is added up are integers. Empty
          if no image has a mask.
        """
        selection = self.selection
        positions = {record: position for position, record in enumerate(selection.labelled)}
        scores = Scores(selection.dataset.description.classes, len(positions), self.settings.boundary_ratio)
        mine, done = records[jax.process_index() :: jax.process_count()], 0
        with told(lambda: f"scoring: {done} of {len(mine)} images"):
            for prediction in self._predict(trained, mine):
                if prediction.record in positions:
                    label = decode_label(selection.reader.label_bytes(prediction.record))
                    scores.update(positions[prediction.record], label, prediction.classes)
                for write in writers:
                    write(prediction)
                done += 1
        if jax.process_count() > 1:
            # int64 does not cross `process_allgather` while JAX is in 32-bit mode: send it as bytes.
            gathered = multihost_utils.process_allgather(scores.counts.view(np.uint8))
            scores.counts = np.asarray(gathered).view(np.int64).sum(0)
        return scores.result(selection.ids(selection.labelled)) if positions else {}

    def draw(self, path: StoragePath, trained: Mapping[str, Trained]) -> None:
        """A contact sheet (Fig. 6): images, their masks, each network's prediction, and where the last one is wrong."""
        labelled = self.selection.labelled
        count = min(self.settings.num_pictures, len(labelled))
        chosen = tuple(labelled[i] for i in np.linspace(0, len(labelled) - 1, count).round().astype(int))
        rows = self._rows(trained, dict(zip(chosen, self.selection.ids(chosen), strict=True)))
        contact_sheet(rows, path, description=self.selection.dataset.description)

    def draw_failures(self, path: StoragePath, name: str, trained: Trained, worst: Mapping[str, Any]) -> None:
        """A contact sheet of the image in which each class is worst (Fig. 7).

        Args:
          path: the file.
          name: of the network.
          trained: the network.
          worst: `worst` of its scores.
        """
        dataset = self.selection.dataset
        records = {image_id: record for record, image_id in enumerate(dataset.ids(self.selection.split))}
        captions: dict[int, str] = {}
        for klass, found in worst.items():
            record, image_id = records[found["image"]], found["image"]
            said = f"{klass} IoU {100 * found['iou']:.0f} %"
            captions[record] = f"{captions[record]}, {said}" if record in captions else f"{image_id}: {said}"
        contact_sheet(self._rows({name: trained}, captions), path, description=dataset.description)

    def _predict(self, trained: Trained, records: Sequence[int]) -> Iterator[Prediction]:
        predictor = build.predictor(
            self.settings.averaging,
            trained.network,
            trained.weights,
            trained.expects,
            self.settings.batch_size,
            self.mesh,
        )
        return predictor(self.selection.reader, records)

    def _rows(self, trained: Mapping[str, Trained], captions: Mapping[int, str]) -> list[list[tuple[str, np.ndarray]]]:
        """Image, mask, predictions and the last one's difference of the records that have a caption."""
        palette = self.selection.dataset.description.palette
        labels = [decode_label(self.selection.reader.label_bytes(record)) for record in captions]
        rows: list[list[tuple[str, np.ndarray]]] = [[("mask", colour(label, palette))] for label in labels]
        for name, network in trained.items():
            predictions = self._predict(network, list(captions))
            for row, label, prediction in zip(rows, labels, predictions, strict=True):
                if len(row) == 1:
                    row.insert(0, (captions[prediction.record], prediction.image))
                row.append((name, colour(prediction.classes, palette)))
                if name == list(trained)[-1]:
                    row.append((f"where {name} is wrong", difference(label, prediction.classes)))
        return rows
