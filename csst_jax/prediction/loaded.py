"""A trained network as Python has it, from its file alone: `csst_jax.load`."""

from __future__ import annotations

import functools
import os
import pathlib
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Array, Float
from PIL import Image, ImageOps

from csst_jax.data.descriptions import distinct_palette
from csst_jax.data.picture_file import Bad, read_pixels
from csst_jax.evaluation.memory import advice, memory_told
from csst_jax.evaluation.whole_image import Averaging, WholeImagePredictor
from csst_jax.prediction.predicted import Predicted
from csst_jax.prediction.shrinking import Predictor, Shrinking
from csst_jax.stages import model_file
from csst_jax.types import CsstError
from csst_jax.user_files import user_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.evaluation.whole_image import Prediction

PAD_PX = 32
"""Images are padded to multiples of this where nothing else is asked for (docs/predict.md says what it changes)."""
_MODES = ("RGB", "L", "P", "RGBA", "LA", "1")
_DEEP = ("I", "F")  # begin the names of modes of more than 8 bits
_MOST_CLASSES = 256  # that a map of bytes tells apart


class Loaded:
    """A trained network.

    Attributes:
      classes: names of the classes, in the order of the logits; empty if the file does not know them.
      num_classes: number of classes of the logits.
      palette: one RGB colour (0 to 255) a class; empty if the file does not know them.
      preprocessing: what images go through before the network sees them; a function of float32 RGB images `b h w 3`
        whose white is 1. `predict` does it by itself.
      shown_as: names and colours of the classes; "class 0" and so on, and distinct colours, where the file has none.
      description: all that the file says of itself, see `csst_jax.models.weights.files.Description`.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Builds the network that a file names.

        Args:
          path: see `csst_jax.models.weights.locate`.

        Raises:
          CsstError: there is no such file, or it is damaged, or its arrays are not exactly the network's.
        """
        self._trained = model_file.load(path)
        self.description = d = self._trained.description
        self.classes, self.num_classes, self.palette = d.classes, d.num_classes, d.palette
        self.preprocessing = d.preprocessing
        self.shown_as = (
            d.classes or tuple(f"class {number}" for number in range(d.num_classes)),
            d.palette or distinct_palette(d.num_classes),
        )
        self._predictors: dict[Averaging, Predictor] = {}

    def predict(
        self,
        image: str | os.PathLike[str] | np.ndarray | Image.Image,
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        window_px: int = 0,
        window_overlap: float = 1 / 3,
        pad_px: int = PAD_PX,
    ) -> Predicted:
        """The class of every pixel of an image of any size, at its size.

        If the training images were made smaller (`description.longest_side`), the network sees the image as small.

        The first image of a size takes seconds to minutes, as a program is compiled for it.

        Args:
          image: a file (PNG, JPEG, TIFF, WebP, BMP; turned upright as its EXIF tag says), an array, uint8 `h w 3` in
            RGB, or a picture of Pillow's.
          scales: class probabilities are averaged over these magnifications.
          flip: and over the mirrored image.
          window_px: side of overlapping windows, which the network sees one after another at every scale; 0 for the
            whole image. For images that the memory does not hold.
          window_overlap: share of a window's side that its neighbour sees as well, from 0 to below 1.
          pad_px: sides are padded to multiples of this, so that images of many sizes share few programs; 1 for none.

        Raises:
          CsstError: the file cannot be read, or the array is of another kind, or a number is out of range, or the
            image does not fit the memory; says what to do.
        """
        averaging = Averaging(tuple(scales), flip, window_px, window_overlap, pad_px)
        pixels = _pixels(image)
        with memory_told(f"an image of {pixels.shape[1]} x {pixels.shape[0]} px", advice(window_px)):
            (prediction,) = self.predictor(averaging).of_images([(0, pixels)])
        return self.shown(prediction)

    def __call__(self, images: Float[Array | np.ndarray, "b h w 3"]) -> Float[Array, "b h w c"]:
        """Logits at the images' size, whole-image inference; the images are normalised, see `preprocessing`."""
        return self._apply(*self._state, images)

    def predictor(self, averaging: Averaging) -> Predictor:
        """What predicts image after image; made once for each way of averaging, and keeps what it compiled.

        Raises:
          CsstError: the network has more classes than a map of bytes tells apart.
        """
        if self.num_classes > _MOST_CLASSES:
            raise CsstError(f"{self.num_classes} classes; maps of classes tell {_MOST_CLASSES} apart at most.")
        if averaging not in self._predictors:
            weights: tuple[dict[str, Any], dict[str, Any]] = self._trained.weights
            predictor = WholeImagePredictor(
                self._trained.network,
                *weights,
                averaging=averaging,
                preprocessing=self.preprocessing,
                batch_size=1,  # a device takes one image after another anyway
            )
            side = self.description.longest_side
            self._predictors[averaging] = Shrinking(predictor, side) if side else predictor
        return self._predictors[averaging]

    def shown(self, prediction: Prediction) -> Predicted:
        """A prediction with the names and colours of `shown_as`."""
        return Predicted(prediction.image, prediction.classes, prediction.confidence, *self.shown_as)

    @functools.cached_property
    def _state(self) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        return jax.tree.map(jax.numpy.asarray, self._trained.weights)

    @functools.cached_property
    def _apply(self) -> jax.stages.Wrapped:
        network = self._trained.network
        return jax.jit(lambda params, stats, images: network.apply_eval(params, stats, images)["logits"])


def _pixels(image: str | os.PathLike[str] | np.ndarray | Image.Image) -> np.ndarray:
    """uint8 "h w 3", RGB, upright.

    Raises:
      CsstError: the file cannot be read, or the array is of another kind.
    """
    if isinstance(image, Image.Image) and image.mode in _MODES:
        image = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    elif isinstance(image, Image.Image) and image.mode.startswith(_DEEP):
        raise CsstError(
            f"a picture of colour mode {image.mode}; its values may go beyond 255, where `convert` cuts them off. "
            "Scale it to 0..255 as the training images were. HIGHEST is the largest value that it can have, of 16 bits "
            '65535: `Image.fromarray((np.asarray(picture) * (255 / HIGHEST)).astype("uint8"))`.'
        )
    elif isinstance(image, Image.Image):
        raise CsstError(f"a picture of colour mode {image.mode}; convert it to 8-bit RGB: `picture.convert('RGB')`.")
    if isinstance(image, str | os.PathLike):
        try:
            return read_pixels(pathlib.Path(user_path(image)))
        except Bad as bad:
            raise CsstError(str(bad)) from bad
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise CsstError(
            f"an image is a uint8 array of h w 3, RGB from 0 to 255, and this is {array.dtype} of shape "
            f"{array.shape}; convert it, or give a path or a Pillow image."
        )
    return array
