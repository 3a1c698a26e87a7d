"""Class activation maps and the attention that refines them, as PseudoSeg's weak branch has them.

After the authors' code, googleinterns/wss b01acaf (`core/train_utils_core.py`). There the map of a class is Grad-CAM's.
With a linear classifier of pooled features, as here and there, that is the classifier's row times the features.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from csst_jax.models.layers import Conv, ConvBN

if TYPE_CHECKING:
    from csst_jax.models.nnx_io import Arrays


class Presence(nnx.Module):
    """A linear classifier of pooled features, which says which classes an image shows; see `presence`."""

    def __init__(self, channels: int, classes: int, *, rngs: nnx.Rngs):
        self.linear = Conv(channels, classes, 1, rngs=rngs, bias=True, init_std=0.01)


class QueriesAndKeys(nnx.Module):
    """Linear maps of a hypercolumn to a query and a key, one behind the other."""

    def __init__(self, channels: int, width: int, *, rngs: nnx.Rngs):
        self.linear = Conv(channels, 2 * width, 1, rngs=rngs, init_std=math.sqrt(1 / channels))

    def __call__(self, x: Float[Array, "b p q c"]) -> Float[Array, "b p q d"]:
        """Of each position."""
        return self.linear(x)


class ScoresToLogits(nnx.Module):
    """A 1x1 convolution and batch normalisation."""

    def __init__(self, classes: int, *, rngs: nnx.Rngs):
        self.unit = ConvBN(classes, classes, 1, rngs=rngs, relu=False)

    def __call__(self, x: Float[Array, "b p q k"]) -> Float[Array, "b p q k"]:
        """Of each position."""
        return self.unit(x)


def presence(classifier: Arrays, features: Float[Array, "b p q c"]) -> Float[Array, "b k"]:
    """Logits of whether each image shows each class.

    Args:
      classifier: arrays of `Presence`.
      features: that it sees.
    """
    return jnp.mean(features, (1, 2)) @ classifier["linear.kernel"][0, 0] + classifier["linear.bias"]


def activation_maps(
    classifier: Arrays, features: Float[Array, "b p q c"], there: Bool[Array, "b k"]
) -> Float[Array, "b p q k"]:
    """What each position adds to the logit of each class that is there, 0 to 1 of the map's highest; no gradient.

    Args:
      classifier: arrays of `Presence`.
      features: that it sees.
      there: which classes the image shows; the maps of the others are 0.
    """
    maps = jax.nn.relu(features @ classifier["linear.kernel"][0, 0]) * there[:, None, None]
    return jax.lax.stop_gradient(maps / jnp.maximum(jnp.max(maps, (1, 2), keepdims=True), 1e-5))


def attended(
    queries_and_keys: Float[Array, "b p q d"], maps: Float[Array, "b p q k"], valid: Bool[Array, "b p q"]
) -> Float[Array, "b p q k"]:
    """The maps, and to each position the mean of those that are like it (scaled dot products of queries and keys)."""
    b, p, q, d = queries_and_keys.shape
    query, key = jnp.split(queries_and_keys.reshape(b, p * q, d), 2, axis=-1)
    alike = jnp.einsum("bmd,bnd->bmn", query, key) / math.sqrt(d // 2)
    flat = valid.reshape(b, p * q)
    alike = jnp.where(flat[:, :, None] & flat[:, None], alike, -1e9)
    mean = jnp.einsum("bmn,bnk->bmk", jax.nn.softmax(alike), maps.reshape(b, p * q, -1))
    return maps + mean.reshape(maps.shape)


def fused(
    decoder: Float[Array, "b h w k"], attention: Float[Array, "b h w k"], temperature: float
) -> Float[Array, "b h w k"]:
    """Calibrated fusion (PseudoSeg, arXiv:2010.09713): the mean of both probabilities, sharpened.

    Both logits are divided by the root of the mean square of all of them, so that neither is surer by its scale alone.

    Args:
      decoder: logits of the network.
      attention: logits of the refined maps.
      temperature: below 1 sharpens.
    """
    square = (jnp.mean(decoder**2) + jnp.mean(attention**2)) / 2
    scale = jax.lax.rsqrt(square + 1e-8)
    mean = (jax.nn.softmax(decoder * scale) + jax.nn.softmax(attention * scale)) / 2
    return jax.nn.softmax(jnp.log(mean) / temperature)
