"""What a network sees in one image, and how that is shown."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from csst_jax.evaluation.pictures import colour


@dataclasses.dataclass(frozen=True)
class Predicted:
    """A network's prediction of one image.

    Attributes:
      image: uint8 [h, w, 3], RGB: the image as it was predicted, upright.
      classes: uint8 [h, w], the number of the most probable class.
      confidence: float32 [h, w], the probability of that class, from 0 to 1.
      names: of the classes, by number.
      palette: one RGB colour (0 to 255) a class, by number.
    """

    image: UInt8[np.ndarray, "h w 3"]
    classes: UInt8[np.ndarray, "h w"]
    confidence: Float[np.ndarray, "h w"]
    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]

    def overlay(self, opacity: float = 0.5) -> UInt8[np.ndarray, "h w 3"]:
        """The image under the colours of its classes, RGB; an opacity of 0 shows the image alone, 1 the colours."""
        colours = Image.fromarray(colour(self.classes, self.palette))
        return np.asarray(Image.blend(Image.fromarray(self.image), colours, opacity))

    def mask(self) -> Image.Image:
        """The classes as an indexed picture: its pixels are class numbers, and viewers show the classes' colours."""
        picture = Image.fromarray(self.classes)
        picture.putpalette([channel for rgb in self.palette for channel in rgb])
        return picture

    def areas(self) -> dict[str, dict[str, float]]:
        """Of each class by name: `pixels`, how many it has, and `share`, that of the image's, from 0 to 1."""
        counts = np.bincount(self.classes.ravel(), minlength=len(self.names))
        return {
            name: {"pixels": int(count), "share": round(float(count / self.classes.size), 6)}
            for name, count in zip(self.names, counts, strict=True)
        }
