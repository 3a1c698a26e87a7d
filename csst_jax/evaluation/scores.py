"""Everything that is counted of predictions, as integers, and the scores that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from csst_jax.evaluation.boundary import boundary_counts
from csst_jax.evaluation.confusion import ConfusionMatrix, by_class, mean, ratio


class Scores:
    """Counts predictions image by image. Counts of several processes add up to those of one.

    Attributes:
      confusion: the confusion matrix of all images.
      boundary: int64 [2, c], pixels in the intersections and unions of the classes' bands (see `boundary_counts`).
      images: int64 [n, 3, c], for each image and class: pixels in the intersection, in the ground truth, and predicted.
    """

    def __init__(self, class_names: Sequence[str], num_images: int, boundary_ratio: float) -> None:
        """Starts with nothing counted.

        Args:
          class_names: in the order of the label values.
          num_images: images that there are, over all processes.
          boundary_ratio: width of the band as a share of an image's diagonal; 0 for no boundary IoU.
        """
        self.confusion = ConfusionMatrix(class_names)
        self.boundary = np.zeros((2, len(class_names)), np.int64)
        self.images = np.zeros((num_images, 3, len(class_names)), np.int64)
        self._boundary_ratio = boundary_ratio

    def update(self, position: int, label: UInt8[np.ndarray, "h w"], prediction: UInt8[np.ndarray, "h w"]) -> None:
        """Counts the image at a position of the list of images.

        Raises:
          CsstError: see `ConfusionMatrix.update`.
        """
        matrix = self.confusion.update(label[None], prediction[None])
        self.images[position] = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
        if self._boundary_ratio:
            self.boundary += boundary_counts(label, prediction, len(matrix), self._boundary_ratio)

    @property
    def counts(self) -> Int64[np.ndarray, " n"]:
        """All counts in one row, to be added to those of other processes."""
        return np.concatenate([x.ravel() for x in (self.confusion.matrix, self.boundary, self.images)])

    @counts.setter
    def counts(self, values: Int64[np.ndarray, " n"]) -> None:
        arrays = (self.confusion.matrix, self.boundary, self.images)
        parts = np.split(values, np.cumsum([x.size for x in arrays])[:-1])
        for array, part in zip(arrays, parts, strict=True):
            array[:] = part.reshape(array.shape)

    def result(self, ids: Sequence[str]) -> dict[str, Any]:
        """What `ConfusionMatrix.result` gives, and more, ready for JSON.

        Args:
          ids: of the images, in their order.

        Returns:
          With `confusion` (rows = ground truth), `worst` (see `worst_images`; the images by their ids), and, if it was
          counted, `boundary_iou` and its mean `boundary_miou`.

        Raises:
          CsstError: no pixel was counted.
        """
        names = self.confusion.class_names
        found: dict[str, Any] = self.confusion.result()
        if self._boundary_ratio:
            boundary = ratio(self.boundary[0], self.boundary[1])
            found |= {"boundary_miou": mean(boundary), "boundary_iou": by_class(names, boundary)}
        worst = worst_images(self.images)
        found["worst"] = {
            names[klass]: {"image": ids[position], "iou": score} for klass, (position, score) in worst.items()
        }
        found["confusion"] = self.confusion.matrix.tolist()
        return found


def worst_images(images: Int64[np.ndarray, "n 3 c"]) -> dict[int, tuple[int, float]]:
    """For each class that the ground truth shows: the image with the lowest IoU, and that.

    Of the images that show a class, only those count in which it has at least the median of its pixels: the worst of
    all would be images with a handful of them, of which nothing can be learnt.
    """
    worst = {}
    intersection, truth, predicted = images.transpose(1, 0, 2)
    scores = ratio(intersection, truth + predicted - intersection)
    for klass in range(images.shape[2]):
        shown = np.flatnonzero(truth[:, klass])
        if shown.size:
            large = shown[truth[shown, klass] >= np.median(truth[shown, klass])]
            position = int(large[scores[large, klass].argmin()])
            worst[klass] = (position, float(scores[position, klass]))
    return worst
