"""s4GAN's discriminator: whether a segmentation beside its image is a mask or a prediction.

After the authors' code, sud0301/semisup-semseg 586609b (`model/discriminator.py`, `train_s4GAN.py`).
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.layers import Conv, Dropout, Linear, fan_in_std

_LAYERS = 4


class Discriminator(nnx.Module):
    """Four 4x4 convolutions of stride 2, of `width` channels and twice as many each time, the mean, a linear layer."""

    def __init__(self, classes: int, width: int, *, rngs: nnx.Rngs):
        channels = [classes + 3, *(width << i for i in range(_LAYERS))]
        self.layers = nnx.List(
            [
                Conv(a, b, 4, rngs=rngs, stride=2, padding=1, bias=True, init_std=fan_in_std(a, 4, 1 / 3))
                for a, b in itertools.pairwise(channels)
            ]
        )
        self.dropout = Dropout(0.5, rngs=rngs, channels=True)
        self.last = Linear(channels[-1], 1, rngs=rngs, init_std=fan_in_std(channels[-1], gain=1 / 3))

    def __call__(self, x: Float[Array, "b h w c"]) -> dict[str, Array]:
        """`logit`, float32 "b", of being a mask; `features`, float32 "b d", the means over positions.

        Args:
          x: what `beside` gives.
        """
        for number, layer in enumerate(self.layers):
            x = jax.nn.leaky_relu(layer(x), 0.2)
            if number + 1 < _LAYERS:
                x = self.dropout(x)
        features = jnp.mean(x, (1, 2))
        return {"logit": self.last(features)[:, 0], "features": features}


def beside(classes: Float[Array, "b h w k"], images: Float[Array, "b h w 3"]) -> Float[Array, "b h w c"]:
    """Probabilities, or a mask's zeros and ones, and the images, brought to 0 to 1 over the batch."""
    low, high = jnp.min(images), jnp.max(images)
    return jnp.concatenate([classes, (images - low) / jnp.maximum(high - low, 1e-6)], -1)
