"""Evaluation of a trained network on a split, at original resolution: scores, and pictures of where it fails."""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Int64

from csst_jax import build
from csst_jax.data.stored.encoded import decode_label
from csst_jax.evaluation.pictures import colour, contact_sheet, difference
from csst_jax.evaluation.scores import Scores
from csst_jax.models.weights.files import add_scores
from csst_jax.models.weights.locate import MODEL_FILE
from csst_jax.runtime import peers
from csst_jax.runtime.patience import told
from csst_jax.runtime.storage import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from csst_jax.data.selection import Selection
    from csst_jax.evaluation.whole_image import Prediction, WholeImagePredictor
    from csst_jax.runtime.storage import StoragePath
    from csst_jax.settings.run import Evaluation, Mesh
    from csst_jax.stages.artifact import Artifact
    from csst_jax.stages.experiment import Experiment
    from csst_jax.stages.model_file import Trained

log = logging.getLogger(__name__)

COUNTS_FILE = "images.npz"


def run(this: Experiment, artifact: Artifact, name: str, trained: Trained) -> dict[str, Any]:
    """The scores of one network (see `Judge.score`), computed or read from the finished artifact; put into its file.

    Args:
      this: the run.
      artifact: in the directory of the network's training stage.
      name: of that stage, for the log.
      trained: the network.
    """
    if artifact.done:
        _note_scores(artifact, this.validation.split, trained)
        return artifact.result
    begin = time.perf_counter()
    counts: list[np.ndarray] = []
    found = judge(this).score(trained, this.validation.labelled, keep=counts.append)
    result = {**found, "images": len(this.validation.labelled), "wall_s": time.perf_counter() - begin}
    log.info("%s: mIoU %.2f %% on %d images", name, 100 * result["miou"], result["images"])
    if jax.process_index() == 0:
        keep_counts(artifact.directory / COUNTS_FILE, counts[0], this.validation.ids(this.validation.labelled))
        artifact.finish(result)
        _note_scores(artifact, this.validation.split, trained)
    return result


def keep_counts(path: StoragePath, counts: Int64[np.ndarray, "n 3 c"], ids: Sequence[str]) -> None:
    """Keeps `Scores.images` with the images' ids: what says how sure a score is (`csst_jax.reporting.certainty`)."""
    with replacing(path) as made, made.open("wb") as file:
        np.savez_compressed(file, counts=counts, ids=np.asarray(ids, np.str_))


def _note_scores(artifact: Artifact, split: str, trained: Trained) -> None:
    """The network's file has the scores as well; after a kill between the two it gets them when the run goes on."""
    found = artifact.result
    scores = {"split": split, **{key: found[key] for key in ("images", "miou", "iou")}}
    if jax.process_index() == 0 and trained.description.scores != scores:
        add_scores(artifact.directory.parent / MODEL_FILE, scores)


@dataclasses.dataclass(frozen=True)
class Example:
    """An image and what networks make of it.

    Attributes:
      record: which image.
      id: its id.
      image: uint8 [h, w, 3].
      label: uint8 [h, w], the mask.
      predictions: by network, uint8 [h, w], the classes.
    """

    record: int
    id: str
    image: np.ndarray
    label: np.ndarray
    predictions: dict[str, np.ndarray]


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
    # By the network's `id`, with the network, so that the id stays its own. What scores a network also draws.
    _predictors: dict[int, tuple[Trained, WholeImagePredictor]] = dataclasses.field(default_factory=dict, init=False)

    def score(
        self,
        trained: Trained,
        records: Sequence[int],
        writers: Sequence[Callable[[Prediction], None]] = (),
        keep: Callable[[np.ndarray], None] | None = None,
    ) -> dict[str, Any]:
        """Predicts images and scores those that have a mask.

        Args:
          trained: the network.
          records: images to predict, all labelled ones among them; every process predicts its share.
          writers: called with each prediction of this process.
          keep: called with `Scores.images`, of all processes.

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
        scores.counts = peers.counts_of_all(scores.counts).sum(0)
        if keep is not None:
            keep(scores.images)
        return scores.result(selection.ids(selection.labelled)) if positions else {}

    def draw(self, path: StoragePath, trained: Mapping[str, Trained]) -> None:
        """A contact sheet (Fig. 6): images, their masks, each network's prediction, and where the last one is wrong."""
        self.draw_examples(path, self.examples(trained, self.evenly()))

    def draw_failures(self, path: StoragePath, name: str, trained: Trained, worst: Mapping[str, Any]) -> None:
        """A contact sheet of the image in which each class is worst (Fig. 7).

        Args:
          path: the file.
          name: of the network.
          trained: the network.
          worst: `worst` of its scores.
        """
        captions = self.captions(worst)
        self.draw_examples(path, self.examples({name: trained}, list(captions)), captions)

    def evenly(self) -> list[int]:
        """As many labelled images as a contact sheet has rows, evenly from all of them."""
        labelled = self.selection.labelled
        count = min(self.settings.num_pictures, len(labelled))
        return [labelled[i] for i in np.linspace(0, len(labelled) - 1, count).round().astype(int)]

    def captions(self, worst: Mapping[str, Any]) -> dict[int, str]:
        """The images in which classes are worst, and what to say of them."""
        dataset = self.selection.dataset
        records = {image_id: record for record, image_id in enumerate(dataset.ids(self.selection.split))}
        captions: dict[int, str] = {}
        for klass, found in worst.items():
            record, image_id = records[found["image"]], found["image"]
            said = f"{klass} IoU {100 * found['iou']:.0f} %"
            captions[record] = f"{captions[record]}, {said}" if record in captions else f"{image_id}: {said}"
        return captions

    def examples(self, trained: Mapping[str, Trained], records: Sequence[int]) -> list[Example]:
        """Images with their masks and each network's prediction."""
        ids = dict(zip(records, self.selection.ids(tuple(records)), strict=True))
        found: dict[int, Example] = {}
        for name, network in trained.items():
            for prediction in self._predict(network, records):
                record = prediction.record
                if record not in found:
                    label = decode_label(self.selection.reader.label_bytes(record))
                    found[record] = Example(record, ids[record], prediction.image, label, {})
                found[record].predictions[name] = prediction.classes
        return list(found.values())

    def draw_examples(
        self, path: StoragePath, examples: Sequence[Example], captions: Mapping[int, str] | None = None
    ) -> None:
        """A contact sheet of examples, with their ids or what else there is to say of them; none without examples."""
        if not examples:
            return
        palette, rows = self.selection.dataset.description.palette, []
        for one in examples:
            row = [((captions or {}).get(one.record, one.id), one.image), ("mask", colour(one.label, palette))]
            row += [(name, colour(classes, palette)) for name, classes in one.predictions.items()]
            name, classes = list(one.predictions.items())[-1]
            rows.append([*row, (f"where {name} is wrong", difference(one.label, classes))])
        contact_sheet(rows, path, description=self.selection.dataset.description)

    def _predict(self, trained: Trained, records: Sequence[int]) -> Iterator[Prediction]:
        """Predictions; the programs stay for the next time, and the weights leave the devices."""
        if id(trained) not in self._predictors:
            made = build.predictor(
                self.settings.averaging,
                trained.network,
                trained.weights,
                trained.expects,
                self.settings.batch_size,
                self.mesh,
                window_key="evaluate.window_px",
            )
            self._predictors[id(trained)] = trained, made
        predictor = self._predictors[id(trained)][1]
        predictor.take(*trained.weights)
        yield from predictor(self.selection.reader, records)
        predictor.take({}, {})
