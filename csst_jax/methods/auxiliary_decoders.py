"""CCT's auxiliary decoders, and what each kind of them does to the encoder's features before it decodes them.

After the authors' code, yassouali/CCT 65d4e5b (`models/decoders.py`). Decoders of a kind have one array each, stacked.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from csst_jax.methods.modules import resized_mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from csst_jax.models.nnx_io import Arrays

DOUBLINGS = 3
"""A decoder's output has eight times the size of its input, as published."""

Maps: TypeAlias = Float[Array, "b p q c"]


class AuxiliaryDecoders(nnx.Module):
    """Decoders of one kind: a 1x1 convolution to the classes, and convolutions whose channels become pixels."""

    def __init__(self, count: int, channels: int, num_classes: int, *, rngs: nnx.Rngs):
        def he(*shape: int) -> Array:
            return math.sqrt(2.0 / shape[-2]) * jax.random.normal(rngs.params(), shape, jnp.float32)

        self.project = nnx.Param(he(count, channels, num_classes))
        # The four pixels of a position begin alike (Aitken et al., arXiv:1707.02937).
        self.kernel = nnx.Param(jnp.tile(he(count, DOUBLINGS, num_classes, num_classes), (1, 1, 1, 4)))
        self.bias = nnx.Param(jnp.zeros((count, DOUBLINGS, 4 * num_classes), jnp.float32))


def decoded(decoder: Arrays, x: Maps) -> Float[Array, "b r s k"]:
    """Logits of one decoder, at `2 ** DOUBLINGS` times the size."""
    x = x @ decoder["project"]
    for kernel, bias in zip(decoder["kernel"], decoder["bias"], strict=True):
        y = jax.nn.relu(x @ kernel + bias)
        b, h, w, c = y.shape
        x = y.reshape(b, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, c // 4)
    return x


Perturbation: TypeAlias = "Callable[[Maps, Arrays, Bool[Array, 'b h w'], Key[Array, '']], Maps]"
"""From features, the decoder that is to see them, the main decoder's foreground, and a key to other features."""


def drop(rate: float) -> Perturbation:
    """Channels are dropped whole; the others are divided by 1 - rate."""

    def perturb(x: Maps, decoder: Arrays, foreground: Array, key: Array) -> Maps:
        kept = jax.random.bernoulli(key, 1.0 - rate, (x.shape[0], 1, 1, x.shape[3]))
        return jnp.where(kept, x / (1.0 - rate), 0.0)

    return perturb


def feature_drop(x: Maps, decoder: Arrays, foreground: Array, key: Array) -> Maps:
    """Drops the positions of the highest mean over channels: above 0.7 to 0.9 of the crop's highest."""
    attention = jnp.mean(x, -1, keepdims=True)
    highest = jnp.max(attention, (1, 2), keepdims=True)
    return jnp.where(attention < highest * jax.random.uniform(key, (), minval=0.7, maxval=0.9), x, 0.0)


def feature_noise(spread: float) -> Perturbation:
    """Each element is multiplied by 1 + n, n uniform in ±spread, the same for all crops."""

    def perturb(x: Maps, decoder: Arrays, foreground: Array, key: Array) -> Maps:
        return x * (1.0 + jax.random.uniform(key, x.shape[1:], minval=-spread, maxval=spread))

    return perturb


def adversarial(length: float) -> Perturbation:
    """Adds the step of that length that changes the decoder's answer most (VAT, arXiv:1704.03976), of one iteration.

    The direction is the gradient of the divergence between the answers before and after a small random step d. Of a
    divergence's second order that is Jᵀ(diag(p) - ppᵀ)J d, computed as such: the difference of two answers that are
    1e-6 apart (the authors' `xi`) has no digits left in float32.
    """

    def perturb(x: Maps, decoder: Arrays, foreground: Array, key: Array) -> Maps:
        fixed = jax.lax.stop_gradient(x)
        answer = functools.partial(decoded, jax.lax.stop_gradient(decoder))
        step = _unit(jax.random.uniform(key, x.shape, minval=-0.5, maxval=0.5))
        logits, change = jax.jvp(answer, (fixed,), (step,))
        p = jax.nn.softmax(logits)
        _, transposed = jax.vjp(answer, fixed)
        (direction,) = transposed(p * (change - jnp.sum(p * change, -1, keepdims=True)))
        return x + length * jax.lax.stop_gradient(_unit(direction))

    return perturb


def cutout(side: float) -> Perturbation:
    """Empties a box within the foreground's bounding box, with `side` of its height and width.

    The authors cut a box out of each connected part of the foreground.
    """

    def perturb(x: Maps, decoder: Arrays, foreground: Array, key: Array) -> Maps:
        u = jax.random.uniform(key, (2, x.shape[0], 1))
        rows, columns = (_cut(jnp.any(foreground, axis), u[2 - axis], side) for axis in (2, 1))
        return jnp.where(_shrunk(rows[:, :, None] & columns[:, None], x), 0.0, x)

    return perturb


def context(x: Maps, decoder: Arrays, foreground: Array, key: Array) -> Maps:
    """Leaves the foreground alone."""
    return jnp.where(_shrunk(foreground, x), x, 0.0)


def background(x: Maps, decoder: Arrays, foreground: Array, key: Array) -> Maps:
    """Leaves the background alone (the authors' object masking)."""
    return jnp.where(_shrunk(foreground, x), 0.0, x)


def _unit(x: Maps) -> Maps:
    return x / (jnp.sqrt(jnp.sum(x**2, (1, 2, 3), keepdims=True)) + 1e-8)


def _cut(there: Bool[Array, "b n"], u: Float[Array, "b 1"], side: float) -> Bool[Array, "b n"]:
    """Of the range from the first to the last True, a part that is `side` of it, anywhere within by `u`."""
    size = there.shape[1]
    first = jnp.argmax(there, 1, keepdims=True)
    length = jnp.where(jnp.any(there, 1, keepdims=True), size - jnp.argmax(there[:, ::-1], 1, keepdims=True) - first, 0)
    begin = first + jnp.floor(u * length * (1 - side))
    at = jnp.arange(size)
    return (at >= begin) & (at < begin + jnp.floor(side * length))


def _shrunk(mask: Bool[Array, "b h w"], x: Maps) -> Bool[Array, "b p q 1"]:
    return resized_mask(mask, (x.shape[1], x.shape[2]))[..., None]
