"""Pooling as PyTorch defines it."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from csst_jax.models.ops.cpu_convolution import Padding, from_outputs, side_by_side
from csst_jax.models.ops.rows import evenly_shared
from csst_jax.platforms import by_platform


def max_pool(
    x: Float[Array, "b h w c"], size: int, stride: int, padding: int = 0, ceil_mode: bool = False
) -> Float[Array, "b p q c"]:
    """Maximum over `size` x `size` windows, as PyTorch's `max_pool2d` places them.

    Args:
      x: the input.
      size: side of a window.
      stride: distance between windows.
      padding: minus infinities on each side, less than `size`.
      ceil_mode: whether a last window may stick out below and to the right, if it starts inside.
    """
    pads = []
    for length in x.shape[1:3]:
        count = (length + 2 * padding - size) // stride + 1
        if ceil_mode:
            count = -(-(length + 2 * padding - size) // stride) + 1
            count -= (count - 1) * stride >= length + padding
        pads.append((padding, max(0, (count - 1) * stride + size - length - padding)))
    return evenly_shared(_max_pool(evenly_shared(x), size, stride, (pads[0], pads[1])))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x: Array, size: int, stride: int, padding: Padding) -> Array:
    return _plain(x, size, stride, padding)


def _plain(x: Array, size: int, stride: int, padding: Padding) -> Array:
    lowest = np.asarray(-np.inf, x.dtype)  # concrete, or JAX does not recognise a maximum that it can differentiate
    window, strides = (1, size, size, 1), (1, stride, stride, 1)
    return jax.lax.reduce_window(x, lowest, jax.lax.max, window, strides, ((0, 0), *padding, (0, 0)))


def _forward(x: Array, size: int, stride: int, padding: Padding) -> tuple[Array, Array]:
    return _plain(x, size, stride, padding), x


def _backward(size: int, stride: int, padding: Padding, x: Array, g: Array) -> tuple[Array]:
    def default(x: Array, g: Array) -> Array:
        return jax.vjp(lambda x: _plain(x, size, stride, padding), x)[1](g)[0]

    def cpu(x: Array, g: Array) -> Array:
        """XLA's CPU backend carries the position of every pixel through the window's maximum: four times slower."""
        (_, rows, columns, c), taps = g.shape, (size, size)
        wide = side_by_side(x, rows, taps, (stride, stride), padding, (1, 1), fill=-np.inf)
        # The tap of the largest, by rows; of several the first. Compared with each other, not with the maximum: XLA may
        # have computed `x` once for that and once more for this, and rounded it otherwise.
        first, largest = jnp.zeros(g.shape, jnp.uint8), jnp.full(g.shape, -np.inf, x.dtype)
        for tap in range(size**2):
            down, (across, part) = tap // size, divmod(tap % size, stride)
            limit = (len(x), down + (rows - 1) * stride + 1, across + columns, (part + 1) * c)
            seen = jax.lax.slice(wide, (0, down, across, part * c), limit, (1, stride, 1, 1))
            first = jnp.where(seen > largest, jnp.uint8(tap), first)
            largest = jnp.maximum(seen, largest)

        def sent(i: int, j: int, first: Array, g: Array) -> Array:
            return jnp.where(first == i * size + j, g, 0)

        return from_outputs((first, g), sent, taps, (x.shape[1], x.shape[2]), (stride, stride), padding)

    return (by_platform(x, g, cpu=cpu, default=default),)


_max_pool.defvjp(_forward, _backward)


def _pooling_matrix(size: int, bins: int) -> np.ndarray:
    """Row i averages the positions floor(i*size/bins) to ceil((i+1)*size/bins), as PyTorch's adaptive pooling does."""
    matrix = np.zeros((bins, size), np.float32)
    for i in range(bins):
        start, end = (i * size) // bins, -((-(i + 1) * size) // bins)
        matrix[i, start:end] = 1.0 / (end - start)
    return matrix


def adaptive_average_pool(x: Float[Array, "b h w c"], bins: int) -> Float[Array, "b n n c"]:
    """Average pooling to `bins` x `bins`, with bins that overlap where the size is no multiple (PyTorch's definition).

    Computed as two products with fixed matrices, so that it is static for export and for sharding; accumulates in
    float32.
    """
    rows, columns = _pooling_matrix(x.shape[1], bins), _pooling_matrix(x.shape[2], bins)
    y = jnp.einsum("ih,bhwc,jw->bijc", rows, x.astype(jnp.float32), columns, precision="highest")
    return y.astype(x.dtype)


def image_mean(x: Float[Array, "b h w c"]) -> Float[Array, "b 1 1 c"]:
    """The mean over all pixels, summed in float32; of the input's dtype."""
    return jnp.mean(x.astype(jnp.float32), (1, 2), keepdims=True).astype(x.dtype)
