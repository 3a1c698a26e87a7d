"""CorrMatch's correlation between positions: a second answer of the decoder's logits, and regions that belong together.

After the authors' code, BBBBchan/CorrMatch 44f9f9e (`model/semseg/deeplabv3plus.py`, `corrmatch.py`).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from csst_jax.models.layers import Conv, ConvBN, Dropout
from csst_jax.models.ops.resize import resize

_CHANNELS = 256


class Projections(nnx.Module):
    """A 3x3 convolution of the encoder's features, and two linear maps of it, one behind the other."""

    def __init__(self, channels: int, classes: int, *, rngs: nnx.Rngs):
        self.project = ConvBN(channels, _CHANNELS, 3, rngs=rngs, bias=True)
        self.dropout = Dropout(0.1, rngs=rngs, channels=True)
        self.linear = Conv(_CHANNELS, 2 * classes, 1, rngs=rngs, bias=True, init_std=math.sqrt(1 / 3 / _CHANNELS))

    def __call__(self, x: Float[Array, "b p q c"]) -> Float[Array, "b p q d"]:
        """Of each position."""
        return self.linear(self.dropout(self.project(x)))


def correlation(projections: Float[Array, "b p q d"]) -> Float[Array, "b n n"]:
    """How much each position (row) has to do with each other one: rows sum to 1."""
    b, p, q, d = projections.shape
    first, second = jnp.split(projections.reshape(b, p * q, d), 2, axis=-1)
    return jax.nn.softmax(jnp.einsum("bmd,bnd->bmn", first, second) / math.sqrt(d // 2))


def correlated(
    logits: Float[Array, "b h w k"], correlations: Float[Array, "b n n"], like: Float[Array, "b p q d"]
) -> Float[Array, "b h w k"]:
    """The logits, spread by the correlations of the positions. They are learned through these alone."""
    b, height, width, classes = logits.shape
    size = (like.shape[1], like.shape[2])
    small = resize(jax.lax.stop_gradient(logits), size, align_corners=True).reshape(b, -1, classes)
    spread = jnp.einsum("bmk,bmn->bnk", small, correlations).reshape(b, *size, classes)
    return resize(spread, (height, width), align_corners=True)


def grown(
    labels: Int[Array, "b h w"],
    confident: Bool[Array, "b h w"],
    allowed: Bool[Array, "b h w"],
    rows: Float[Array, "b s p q"],
    threshold: Float[Array, ""],
) -> tuple[Int[Array, "b h w"], Bool[Array, "b h w"]]:
    """Labels and confident pixels after the propagation of labels in regions (the authors' loop over segments).

    A row's region is where its correlation is in the upper half of its range. Where enough of it is confident, and
    enough of that is of one class, all of it becomes confident and of that class.

    Args:
      labels: pseudo labels.
      confident: where they are sure enough.
      allowed: pixels that regions may hold.
      rows: of sampled positions.
      threshold: least share that is enough.
    """
    _, height, width = labels.shape
    sure = confident

    def one(carry: tuple[Array, Array], row: Array) -> tuple[tuple[Array, Array], None]:
        labels, confident = carry
        large = resize(row[..., None], (height, width), align_corners=True)[..., 0]
        low, high = (f(large, (1, 2), keepdims=True) for f in (jnp.min, jnp.max))
        region = (large - low > 0.5 * (high - low)) & allowed
        kernel = region & sure
        area, inside = (jnp.sum(x, (1, 2), dtype=jnp.float32) for x in (region, kernel))
        counts = jax.vmap(lambda x, own: jnp.zeros(256).at[x.ravel()].add(own.ravel()))(
            labels, kernel.astype(jnp.float32)
        )
        enough = (inside > 0) & (inside >= threshold * area) & (jnp.max(counts, 1) > threshold * inside)
        taken = region & enough[:, None, None]
        most = jnp.argmax(counts, 1).astype(labels.dtype)[:, None, None]
        return (jnp.where(taken, most, labels), confident | taken), None

    return jax.lax.scan(one, (labels, confident), jnp.moveaxis(rows, 1, 0))[0]
