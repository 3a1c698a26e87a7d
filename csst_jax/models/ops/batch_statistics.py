"""Normalisation by the statistics of a batch, with its own rule for gradients.

What JAX derives from the formulas passes over the features about four times as often as is needed, and keeps copies of
them for the backward pass: on CPU it takes three to five times as long. The rule here is the textbook's: with the
gradient g of the output before the ReLU, and means over a channel,

    dx = gain * (g - mean(g) - x_hat * mean(g * x_hat)),  gain = scale / deviation,

which is one multiply-add of g, x and numbers per channel, after one pass that sums g and g * x.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from csst_jax.models.ops.blocks import from_blocks, gather, spread, to_blocks
from csst_jax.platforms import by_platform

Statistics = tuple[Float[Array, " c"], Float[Array, " c"]]
_ROWS_PER_ITERATION = (4, 2, 1)
_WORTH_A_LOOP = 2**20  # values; the terms of fewer stay in cache, and loops take long to compile
Terms = tuple[Float[Array, "b h w c"], Float[Array, "b h w c"]]


def batch_statistics(x: Float[Array, "b h w d"], shift: Float[Array, " c"]) -> Statistics:
    """Mean and biased variance per channel, float32; under `jit` over the global batch.

    Args:
      x: features, or blocks of them.
      shift: a number close to the mean of each channel (the running mean): subtracted first, it keeps
        E[x^2] - E[x]^2 well conditioned. Both sums take one pass, and one exchange between devices.
    """
    if x.shape[1] * x.shape[2] == 1:
        # Means over images are close to each other: a difference of squares would keep few of their digits, and of so
        # few numbers a second sum costs nothing.
        centred = x.astype(jnp.float32) - shift
        offset = jnp.mean(centred, (0, 1, 2))
        return offset + shift, jnp.mean(jnp.square(centred - offset), (0, 1, 2))

    def terms(x: Array) -> Terms:
        centred = x.astype(jnp.float32) - spread(shift, x.shape[-1])
        return centred, jnp.square(centred)

    offset, square = (gather(total, shift.size) / (x.size // shift.size) for total in _sums(terms, x))
    return offset + shift, jnp.maximum(square - jnp.square(offset), 0.0)


def _sums(terms: Callable[..., Terms], *arrays: Array) -> Statistics:
    """Sums per channel of two terms of features [b, h, w, c].

    XLA's CPU backend writes terms to memory before it sums them, and does not sum along outer axes by vectors: there a
    loop over rows adds to sums that stay in cache.
    """

    def by_row(*arrays: Array) -> Statistics:
        b, h, w, c = arrays[0].shape
        together = next(rows for rows in _ROWS_PER_ITERATION if h % rows == 0)

        def add(block: Array, totals: Terms) -> Terms:
            for row in (block * together + r for r in range(together)):
                first, second = terms(*(jax.lax.dynamic_slice_in_dim(array, row, 1, axis=1) for array in arrays))
                totals = totals[0] + first, totals[1] + second
            return totals

        totals = jax.lax.fori_loop(0, h // together, add, (jnp.zeros((b, 1, w, c), jnp.float32),) * 2)
        return jnp.sum(totals[0], (0, 1, 2)), jnp.sum(totals[1], (0, 1, 2))

    def at_once(*arrays: Array) -> Statistics:
        first, second = terms(*arrays)
        return jnp.sum(first, (0, 1, 2)), jnp.sum(second, (0, 1, 2))

    if arrays[0].size < _WORTH_A_LOOP:
        return at_once(*arrays)
    return by_platform(*arrays, cpu=by_row, default=at_once)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def normalise_by_batch(
    x: Float[Array, "b h w c"],
    scale: Float[Array, " c"],
    bias: Float[Array, " c"],
    shift: Float[Array, " c"],
    epsilon: float,
    relu: bool,
    side: int = 1,
) -> tuple[Float[Array, "b h w c"], Statistics]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, cut off at zero if `relu`, and the statistics.

    Arithmetic is float32; the output has the dtype of `x`. No gradient flows through the statistics that are returned
    (they are for running averages), nor to `shift` (see `batch_statistics`). `side` is as in `normalise`.
    """
    return _forward(x, scale, bias, shift, epsilon, relu, side)[0]


def _forward(
    x: Array, scale: Array, bias: Array, shift: Array, epsilon: float, relu: bool, side: int
) -> tuple[tuple[Array, Statistics], tuple]:
    def form(side: int, x: Array, scale: Array, bias: Array, shift: Array) -> tuple[Array, Statistics]:
        x = to_blocks(x, side)
        mean, variance = batch_statistics(x, shift)
        return from_blocks(_normalise(x, mean, variance, scale, bias, epsilon, relu), side), (mean, variance)

    y, (mean, variance) = _by_platform(form, side, x, scale, bias, shift)
    return (y, (mean, variance)), (x, y if relu else None, scale, mean, variance)


def _by_platform(form: Callable[..., Any], side: int, *arrays: Array) -> Any:
    """`form` with the side of blocks that the platform wants."""
    if side == 1:
        return form(1, *arrays)
    return by_platform(*arrays, tpu=functools.partial(form, side), default=functools.partial(form, 1))


def _backward(epsilon: float, relu: bool, side: int, saved: tuple, gradients: tuple) -> tuple:
    x, y, scale, mean, variance = saved

    def terms(x: Array, g: Array, *y: Array) -> Terms:
        g = g.astype(jnp.float32)
        if relu:
            g = jnp.where(y[0] > 0, g, 0.0)
        return g, g * (x.astype(jnp.float32) - spread(mean, x.shape[-1]))

    def form(side: int, *features: Array) -> tuple[Array, Array, Array]:
        features = tuple(to_blocks(array, side) for array in features)
        x, channels = features[0], features[0].shape[-1]
        total, d_gain = (gather(total, scale.size) for total in _sums(terms, *features))
        inverse = jax.lax.rsqrt(variance + epsilon)
        d_scale = d_gain * inverse
        count = x.size // scale.size
        g, _ = terms(*features)
        centred = x.astype(jnp.float32) - spread(mean, channels)
        slope = spread(d_scale * inverse / count, channels)
        dx = (g - spread(total / count, channels) - centred * slope) * spread(scale * inverse, channels)
        return from_blocks(dx.astype(x.dtype), side), d_scale, total

    features = (x, gradients[0], y) if relu else (x, gradients[0])
    return *_by_platform(form, side, *features), jnp.zeros_like(mean)


normalise_by_batch.defvjp(_forward, _backward)


def normalise(
    x: Float[Array, "b h w c"],
    mean: Float[Array, " c"],
    variance: Float[Array, " c"],
    scale: Float[Array, " c"],
    bias: Float[Array, " c"],
    epsilon: float,
    relu: bool,
    side: int = 1,
) -> Float[Array, "b h w c"]:
    """The same with given statistics; differentiated as it stands.

    On TPU it is done on blocks of side x side pixels (see `blocks.py`), as the convolution before it is.
    """

    def form(side: int, x: Array, mean: Array, variance: Array, scale: Array, bias: Array) -> Array:
        return from_blocks(_normalise(to_blocks(x, side), mean, variance, scale, bias, epsilon, relu), side)

    return _by_platform(form, side, x, mean, variance, scale, bias)


def _normalise(x: Array, mean: Array, variance: Array, scale: Array, bias: Array, epsilon: float, relu: bool) -> Array:
    gain = scale * jax.lax.rsqrt(variance + epsilon)
    mean, gain, bias = (spread(numbers, x.shape[-1]) for numbers in (mean, gain, bias))
    y = (x.astype(jnp.float32) - mean) * gain + bias
    return (jnp.maximum(y, 0.0) if relu else y).astype(x.dtype)
