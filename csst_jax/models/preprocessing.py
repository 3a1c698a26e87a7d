"""What a network expects of its input: pretrained weights are worth little under another mean or order of channels."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from csst_jax.types import CsstError


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """A network's input from an image: (image - mean) / std.

    Attributes:
      mean: subtracted, in the order of `channels` and in units of `value_range`.
      std: divided by.
      channels: "RGB" or "BGR".
      value_range: the value of white: 1.0 or 255.0.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    channels: str = "RGB"
    value_range: float = 1.0

    def __post_init__(self) -> None:
        if self.channels not in ("RGB", "BGR") or self.value_range not in (1.0, 255.0):
            raise CsstError(f"{self}: channels are RGB or BGR, the value range ends at 1.0 or 255.0.")

    def __call__(self, images: Float[Array | np.ndarray, "b h w 3"]) -> Float[Array, "b h w 3"]:
        """The network's input, float32, from RGB images whose white is 1."""
        if self.channels == "BGR":
            images = images[..., ::-1]
        mean, std = np.asarray(self.mean) / self.value_range, np.asarray(self.std) / self.value_range
        return (jnp.asarray(images) - jnp.asarray(mean, jnp.float32)) * (1.0 / jnp.asarray(std, jnp.float32))

    def told(self) -> str:
        """In words, for images whose white is 1: "RGB images from 0 to 1, less mean=[…], over std=[…]"."""
        mean, std = ([round(v / self.value_range, 6) for v in values] for values in (self.mean, self.std))
        return f"{self.channels} images from 0 to 1, less mean={mean}, over std={std}"


IMAGENET = Preprocessing()
"""torchvision's, which most backbones expect."""
