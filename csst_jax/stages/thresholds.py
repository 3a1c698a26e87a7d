"""From which probability on a pixel keeps its pseudo label, class by class.

One threshold for all classes takes away the classes that a teacher is never sure of: thin, small and rare ones. CBST
(Zou et al. 2018) keeps the surest share of each class instead. Here the one threshold holds unless it would keep less
than that share of a class; such a class gets a lower one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import jax
import numpy as np
from jax.experimental import multihost_utils

from csst_jax.runtime.json_files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csst_jax.data.selection import Selection
    from csst_jax.evaluation.whole_image import Prediction, WholeImagePredictor
    from csst_jax.runtime.storage import StoragePath
    from csst_jax.settings.run import Labelling

log = logging.getLogger(__name__)

FILE = "thresholds.json"
_MOST_IMAGES = 128  # evenly spaced in the pool; their pixels are millions
_BINS = 1000  # of probabilities


def of_pool(
    directory: StoragePath, settings: Labelling, selection: Selection, predictor: WholeImagePredictor
) -> np.ndarray:
    """float32 [C]: the threshold of each class; all processes get the same.

    A file in `directory` keeps them, so that an interrupted run labels the rest by the same ones.

    Args:
      directory: of the label stage.
      settings: its own.
      selection: the split with the pool.
      predictor: predicts with the teacher's weights.
    """
    classes = selection.dataset.description.classes
    if not settings.class_portion:
        return np.full(len(classes), settings.confidence_threshold, np.float32)
    path = directory / FILE
    if jax.process_index() == 0 and not path.exists():
        count = min(_MOST_IMAGES, len(selection.unlabelled))
        positions = np.linspace(0, len(selection.unlabelled) - 1, count).round().astype(int)
        log.info("%s: thresholds by class, from %d images", directory.name, count)
        found = by_class(
            predictor(selection.reader, [selection.unlabelled[i] for i in positions]),
            len(classes),
            settings.confidence_threshold,
            settings.class_portion,
        )
        write_json(path, {name: float(value) for name, value in zip(classes, found, strict=True)})
    multihost_utils.sync_global_devices("thresholds found")
    return np.asarray([read_json(path)[name] for name in classes], np.float32)


def by_class(predictions: Iterable[Prediction], num_classes: int, threshold: float, portion: float) -> np.ndarray:
    """float32 [C]: `threshold`, or lower where fewer than `portion` of a class's pixels reach it.

    Args:
      predictions: of some images.
      num_classes: C.
      threshold: probability from 0 to 1.
      portion: share of the pixels that are predicted as a class, 0 to 1.
    """
    counts = np.zeros((num_classes, _BINS), np.int64)
    for prediction in predictions:
        bins = np.minimum((prediction.confidence.ravel() * _BINS).astype(np.int64), _BINS - 1)
        cells = prediction.classes.ravel().astype(np.int64) * _BINS + bins
        counts += np.bincount(cells, minlength=counts.size).reshape(counts.shape)
    surer = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]  # pixels in a bin or above it
    enough = surer >= np.ceil(portion * surer[:, :1])  # the lowest bin always is
    highest = _BINS - 1 - np.argmax(enough[:, ::-1], axis=1)
    return np.minimum(threshold, highest / _BINS).astype(np.float32)
