"""Which pixels keep their pseudo label, decided class by class.

One threshold for all classes takes away the classes that a teacher is seldom sure of: thin, small and rare ones. What
stays of them is what is labelled as their neighbours: at 0.9, a road keeps nearly all of its pixels, wrong ones at the
pavement among them, and the pavement keeps few. CBST (Zou et al. 2018) keeps the surest share of each class instead.

The shares have a price. Where a pixel may be sky or tree, it may need 0.998 to stay sky and 0.89 to stay tree. Most of
the labels that are kept there are trees then, and the student calls sky trees. With `lower_of_two` both need the same.
A class that the teacher predicts nowhere lowers nothing: of two classes, all pixels would keep the label of the other.

A class that the teacher often misses is taught away: the missed pixels are labelled as what is behind, and the student
learns that. How much is missed can be told, since masks and pool show the same kind of images: the masks' share of the
class minus the predicted one. The pixels whose second most probable class it is, with the highest probability, are the
ones that it may be.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import jax
import numpy as np
from jax.experimental import multihost_utils

from csst_jax.data.statistics import class_statistics
from csst_jax.runtime import patience
from csst_jax.runtime.json_files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from csst_jax.data.selection import Selection
    from csst_jax.evaluation.whole_image import Prediction, WholeImagePredictor
    from csst_jax.runtime.storage import StoragePath
    from csst_jax.settings.run import Labelling

log = logging.getLogger(__name__)

FILE = "thresholds.json"
_MOST_IMAGES = 128  # evenly spaced in what is to be labelled; their pixels are millions
# Of probabilities: thousandths, and the last of them once more in a thousand parts. A teacher gives most pixels of a
# road more than 0.999; without these parts, none of them could be told from another, and all would stay.
_THOUSANDTHS = 1000
_LAST = _THOUSANDTHS - 1
_BINS = _LAST + _THOUSANDTHS
_NEVER = 2.0  # above every probability
# About half of the pixels whose second class is a missed one are of it.
_DOUBTED_PER_MISSED = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Thresholds:
    """What a pixel needs to keep its label.

    Attributes:
      kept_from: float32 [C]: the least probability of its class.
      doubted_from: float32 [C]: the probability from which on the second most probable class makes it void.
      lower_of_two: whether the lower `kept_from` of its two most probable classes is enough.
      seen: bool [C]: classes whose `kept_from` is known, as the teacher predicts them; None for all. The others lower
        no pixel's need.
    """

    kept_from: np.ndarray
    doubted_from: np.ndarray
    lower_of_two: bool = False
    seen: np.ndarray | None = None

    def void(self, prediction: Prediction) -> np.ndarray:
        """Which pixels lose their label, bool [h, w]."""
        needed = self.kept_from[prediction.classes]
        if self.lower_of_two and prediction.runner_up is not None:
            seconds = self.kept_from if self.seen is None else np.where(self.seen, self.kept_from, _NEVER)
            needed = np.minimum(needed, seconds[prediction.runner_up])
        void = prediction.confidence < needed
        if prediction.runner_up is not None:
            void |= prediction.runner_up_confidence >= self.doubted_from[prediction.runner_up]
        return void


def of_pool(
    directory: StoragePath,
    settings: Labelling,
    selection: Selection,
    records: Sequence[int],
    predictor: WholeImagePredictor,
) -> Thresholds:
    """The thresholds of a run; all processes get the same.

    A file in `directory` keeps them, so that an interrupted run labels the rest by the same ones.

    Args:
      directory: of the label stage.
      settings: its own.
      selection: the split with the pool.
      records: of the pool's images those that are to be labelled. Others, which keep their labels, count for nothing:
        the teacher may have learned these very labels, and would be surer of them than of any other image.
      predictor: predicts with the teacher's weights.
    """
    classes = selection.dataset.description.classes
    if not settings.class_portion and not settings.void_missed:
        return Thresholds(
            np.full(len(classes), settings.confidence_threshold, np.float32),
            np.full(len(classes), _NEVER, np.float32),
        )
    path = directory / FILE
    if jax.process_index() == 0 and not path.exists():
        count = min(_MOST_IMAGES, len(records))
        positions = np.linspace(0, len(records) - 1, count).round().astype(int)
        log.info("%s: thresholds by class, from %d images", directory.name, count)
        predictions = predictor(selection.reader, [records[i] for i in positions])
        told = patience.told_each(predictions, lambda n: f"{directory.name}: thresholds, image {n} of {count}")
        seen = counted(told, len(classes))
        found = {"kept_from": kept_from(seen[0], settings.confidence_threshold, settings.class_portion)}
        found["doubted_from"] = np.full(len(classes), _NEVER)
        found["predicted_px"] = seen[0].sum(1)
        if settings.void_missed:
            index = selection.dataset.centroids(selection.split)
            found["doubted_from"] = doubted_from(*seen, class_statistics(index, selection.labelled).pixels)
        write_json(path, {name: dict(zip(classes, map(float, v), strict=True)) for name, v in found.items()})
    multihost_utils.sync_global_devices("thresholds found")
    stored = read_json(path)
    kept, doubted = (np.array([stored[n][c] for c in classes], np.float32) for n in ("kept_from", "doubted_from"))
    pixels = stored.get("predicted_px")  # earlier versions did not keep it
    predicted = None if pixels is None else np.array([pixels[c] > 0 for c in classes])
    return Thresholds(kept, doubted, settings.lower_of_two, predicted)


def counted(predictions: Iterable[Prediction], num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """int64 [C, bins] each: pixels by class and probability, of the most probable class and of the second one."""
    counts = np.zeros((2, num_classes, _BINS), np.int64)
    for prediction in predictions:
        told = [(prediction.classes, prediction.confidence), (prediction.runner_up, prediction.runner_up_confidence)]
        for own, (classes, confidence) in zip(counts, told, strict=True):
            if classes is None or confidence is None:
                continue
            cells = classes.ravel().astype(np.int64) * _BINS + _bin_of(confidence.ravel())
            own += np.bincount(cells, minlength=own.size).reshape(own.shape)
    return counts[0], counts[1]


def kept_from(counts: np.ndarray, threshold: float, portion: float) -> np.ndarray:
    """float64 [C]: what the surest `portion` of a class's pixels reach, and `threshold` at least.

    Args:
      counts: int64 [C, bins], of the most probable class.
      threshold: probability from 0 to 1.
      portion: share of the pixels that are predicted as a class, 0 to 1; 0 leaves the threshold as it is.
    """
    if not portion:
        return np.full(len(counts), threshold)
    # Of a class that none of the counted images shows nothing is known: the threshold holds.
    return np.maximum(threshold, _surest(counts, np.maximum(1, np.ceil(portion * counts.sum(1)))))


def doubted_from(counts: np.ndarray, seconds: np.ndarray, mask_pixels: np.ndarray) -> np.ndarray:
    """float64 [C]: from which probability on a second class is taken for one that was missed.

    Args:
      counts: int64 [C, bins], of the most probable class.
      seconds: int64 [C, bins], of the second one.
      mask_pixels: int64 [C], pixels of each class in the masks.

    Returns:
      For each class that is predicted more rarely than the masks show it, a threshold that its surest second places
      reach, as many as are missing, and as many again; 2.0, which nothing reaches, for the others.
    """
    expected = mask_pixels / max(1, mask_pixels.sum()) * counts.sum()
    missing = np.ceil(_DOUBTED_PER_MISSED * (expected - counts.sum(1)))
    return np.where(missing > 0, _surest(seconds, np.maximum(missing, 1)), _NEVER)


def _bin_of(probability: np.ndarray) -> np.ndarray:
    """int64 [n], 0 to _BINS - 1, of probabilities float32 [n]."""
    thousandths = probability * np.float32(_THOUSANDTHS)
    part = np.clip((thousandths - _LAST) * _THOUSANDTHS, 0, _THOUSANDTHS - 1)
    return np.where(thousandths < _LAST, thousandths, _LAST + part).astype(np.int64)


def _surest(counts: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """float64 [C]: the highest probability that as many pixels as wanted reach; 0 where there are not so many."""
    surer = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]  # pixels in a bin or above it
    enough = surer >= wanted[:, None]
    enough[:, 0] = True
    first = _BINS - 1 - np.argmax(enough[:, ::-1], axis=1)
    return (np.minimum(first, _LAST) + np.maximum(first - _LAST, 0) / _THOUSANDTHS) / _THOUSANDTHS
