"""Predicts photos of any size with a network whose training images were made smaller (`data_prep.folder`)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

from csst_jax.data.shrinking import interpolated, nearest, shrunk_pixels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np

    from csst_jax.evaluation.whole_image import Prediction


class Predictor(Protocol):
    """What predicts image after image: `csst_jax.evaluation.whole_image.WholeImagePredictor`, or `Shrinking`."""

    @property
    def compile_s(self) -> float:
        """Seconds that compiling has taken so far."""

    def of_images(self, images: Iterable[tuple[int, np.ndarray]]) -> Iterator[Prediction]:
        """Predictions of (number, uint8 "h w 3") at the images' sizes."""


class Shrinking:
    """Shows the network each image as small as those it was trained on; the answer has the image's own size."""

    def __init__(self, inner: Predictor, longest_side: int) -> None:
        """Predicts nothing yet.

        Args:
          inner: predicts the smaller images.
          longest_side: of the training images, in pixels.
        """
        self._inner, self._longest_side = inner, longest_side

    @property
    def compile_s(self) -> float:
        """As `Predictor.compile_s`."""
        return self._inner.compile_s

    def of_images(self, images: Iterable[tuple[int, np.ndarray]]) -> Iterator[Prediction]:
        """As `Predictor.of_images`."""
        whole: dict[int, np.ndarray] = {}

        def small() -> Iterator[tuple[int, np.ndarray]]:
            for number, pixels in images:
                whole[number] = pixels
                yield number, shrunk_pixels(pixels, self._longest_side)

        for found in self._inner.of_images(small()):
            image = whole.pop(found.record)
            if image.shape == found.image.shape:
                yield found
                continue
            size = image.shape[:2]
            classes, confidence = nearest(found.classes, size), interpolated(found.confidence, size)
            yield dataclasses.replace(found, image=image, classes=classes, confidence=confidence)
