"""Forms of convolutions, and rules for their gradients, that suit CPUs; `convolution.py` picks them.

Convolutions are NHWC; kernels are height x width x (input channels / groups) x output channels; strides, paddings and
dilations are as in `convolution.conv2d`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

_ROWS_PER_ITERATION = 4  # measured: longer unrolling spills, shorter pays the loop


def pointwise_gradients(x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
    """Written out because JAX's rule transposes the gradient in memory for the product with the input."""
    dx = jnp.einsum("bhwd,cd->bhwc", g, kernel[0, 0])
    dk = _over_pixels(x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1]))
    return dx, dk.astype(kernel.dtype)[None, None]


def _over_pixels(x: Array, g: Array) -> Array:
    """The product x^T g without a transposition in memory; float32."""
    return lax.dot_general(x, g, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32)


def side_by_side(
    x: Array, rows: int, taps: Pair, stride: Pair, padding: Padding, dilation: Pair, fill: float = 0.0
) -> Array:
    """The padded input of `rows` rows of output of a depthwise convolution, [b, h, w / stride, stride * c].

    Every `stride` columns become the channels of one: what a tap reads of a row is then one dense slice, which is
    vectorised where a strided one is not. Rows are as many as whole iterations of the weight gradient need, so that
    forward and backward pass share one array.
    """
    rows = -(-rows // _ROWS_PER_ITERATION) * _ROWS_PER_ITERATION
    b, h, w, c = x.shape
    (top, bottom), (left, right) = padding
    missing = (rows - 1) * stride[0] + dilation[0] * (taps[0] - 1) + 1 - (top + h + bottom)
    right += -(left + w + right) % stride[1]
    x = jnp.pad(x, ((0, 0), (top, bottom + max(0, missing)), (left, right), (0, 0)), constant_values=fill)
    return x.reshape(b, x.shape[1], x.shape[2] // stride[1], stride[1] * c)


def depthwise(x: Array, kernel: Array, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """Sum over the taps of shifted copies of the input, each times its tap's weights."""
    kh, kw, _, c = kernel.shape
    oh, ow = (
        (n + sum(pads) - d * (k - 1) - 1) // s + 1
        for n, pads, d, k, s in zip(x.shape[1:3], padding, dilation, (kh, kw), stride, strict=True)
    )
    wide = side_by_side(x, oh, (kh, kw), stride, padding, dilation)
    total = None
    for i in range(kh):
        for j in range(kw):
            down, (across, part) = i * dilation[0], divmod(j * dilation[1], stride[1])
            start = (0, down, across, part * c)
            limit = (x.shape[0], down + (oh - 1) * stride[0] + 1, across + ow, (part + 1) * c)
            term = lax.slice(wide, start, limit, (1, stride[0], 1, 1)) * kernel[i, j, 0]
            total = term if total is None else total + term
    assert total is not None  # a kernel has at least one tap
    return total


def _depthwise_kernel_gradient(
    x: Array, g: Array, kernel_shape: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Array:
    """Weight gradient of a depthwise convolution, in one pass over the rows of the image.

    XLA's own reduction of nine shifted products reads both arrays nine times, strided. Here all taps of a few rows are
    accumulated together while the rows are in cache; the batch stays a parallel dimension, so that a batch that is
    sharded over devices is not gathered. Sums are float32 whatever the inputs are: a running sum in bfloat16 stops
    growing early.
    """
    kh, kw = kernel_shape
    b, oh, ow, c = g.shape
    iterations = -(-oh // _ROWS_PER_ITERATION)
    wide = side_by_side(x, oh, kernel_shape, stride, padding, dilation)
    g = jnp.pad(g, ((0, 0), (0, iterations * _ROWS_PER_ITERATION - oh), (0, 0), (0, 0)))

    def read(array: Array, row: Array, across: int, channel: int) -> Array:
        # A slice of a slice would not be vectorised. No index is negative; JAX would trace a test for each.
        at, sizes = (0, row, across, channel), (b, 1, ow, c)
        return lax.dynamic_slice(array, at, sizes, allow_negative_indices=False).astype(jnp.float32)

    def body(t: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        """In primitives, of which there are hundreds: an operator takes five times as long to trace."""
        rows = [lax.add(lax.mul(t, np.int32(_ROWS_PER_ITERATION)), np.int32(r)) for r in range(_ROWS_PER_ITERATION)]
        given = [read(g, row, 0, 0) for row in rows]
        new = []
        for tap, total in enumerate(sums):
            down, (across, part) = tap // kw * dilation[0], divmod(tap % kw * dilation[1], stride[1])
            for row, own in zip(rows, given, strict=True):
                seen = read(wide, lax.add(lax.mul(row, np.int32(stride[0])), np.int32(down)), across, part * c)
                total = lax.add(total, lax.mul(seen, own))
            new.append(total)
        return tuple(new)

    sums = lax.fori_loop(0, iterations, body, (jnp.zeros((b, 1, ow, c), jnp.float32),) * (kh * kw))
    return jnp.stack([jnp.sum(s, (0, 1, 2)) for s in sums]).reshape(kh, kw, 1, c).astype(x.dtype)


def from_outputs(
    arrays: tuple[Array, ...],
    term: Callable[..., Array],
    taps: Pair,
    x_size: Pair,
    stride: Pair,
    padding: Padding,
) -> Array:
    """What the outputs of a window operation send back to its input: a sum over the taps that met each pixel.

    Input pixels with the same remainders by the stride meet the same taps, of neighbouring outputs: each such set is a
    sum of dense slices, and putting the sets side by side is cheaper than a sum of arrays that are spread with zeros.

    Args:
      arrays: [b, p, q, c] each, of the outputs; beyond their edge they are zero.
      term: called with the tap's row and column and a slice of each array; what goes to the input pixels.
      taps: rows and columns of the window.
      x_size: of the input.
      stride: between windows.
      padding: of the input.

    Returns:
      [b, *x_size, c].
    """
    meets, counts, pads = [], [], []
    for size, s, (before, _), n, outputs in zip(x_size, stride, padding, taps, arrays[0].shape[1:3], strict=True):
        # By remainder: the taps that meet such pixels, and how far their outputs are from pixel // stride.
        by_remainder = [[(t, (r + before - t) // s) for t in range((r + before) % s, n, s)] for r in range(s)]
        offsets = [offset for met in by_remainder for _, offset in met]
        count = -(-size // s)
        meets.append(by_remainder)
        counts.append(count)
        pads.append((max(0, -min(offsets)), max(0, count + max(offsets) - outputs)))
    (top, _), (left, _) = pads
    padded = [jnp.pad(array, ((0, 0), *pads, (0, 0))) for array in arrays]
    b, c = padded[0].shape[0], padded[0].shape[3]

    def summed(down_taps: list[Pair], across_taps: list[Pair]) -> Array:
        total = None
        for i, down in down_taps:
            for j, across in across_taps:
                y, x = top + down, left + across
                limit = (b, y + counts[0], x + counts[1], c)
                sent = term(i, j, *(lax.slice(array, (0, y, x, 0), limit) for array in padded))
                total = sent if total is None else total + sent
        return jnp.zeros((b, *counts, c), arrays[-1].dtype) if total is None else total

    rows = [jnp.stack([summed(down, across) for across in meets[1]], axis=3) for down in meets[0]]
    dx = jnp.stack(rows, axis=2).reshape(b, counts[0] * stride[0], counts[1] * stride[1], c)
    return dx[:, : x_size[0], : x_size[1]]


# A network has several of the same shapes: what is jitted is traced once for all of them.
@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def depthwise_gradients(
    x: Array, kernel: Array, g: Array, stride: Pair, padding: Padding, dilation: Pair
) -> tuple[Array, Array]:
    """Gradients of a depthwise convolution for its input and its kernel."""
    kh, kw = kernel.shape[:2]
    size = (x.shape[1], x.shape[2])
    if dilation == (1, 1):
        dx = from_outputs((g,), lambda i, j, g: g * kernel[i, j, 0], (kh, kw), size, stride, padding)
    else:
        dx = jax.vjp(lambda x: depthwise(x, kernel, stride, padding, dilation), x)[1](g)[0]
    return dx, _depthwise_kernel_gradient(x, g, (kh, kw), stride, padding, dilation)


def dense_kernel_gradient(
    x: Array, g: Array, kernel_shape: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Array:
    """Weight gradient of a dense convolution, a matrix product for each row of the output.

    XLA's own form is a convolution whose window is the whole image: up to twenty times slower (a 7x7 stem). What the
    product of one row needs of the input, all taps side by side, stays in cache. Sums are float32.
    """
    kh, kw = kernel_shape
    b, oh, ow, o = g.shape
    c = x.shape[-1]
    height, width = (
        (n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip((oh, ow), stride, dilation, (kh, kw), strict=True)
    )
    missing = [
        (before, max(0, n - before - size))
        for n, size, (before, _) in zip((height, width), x.shape[1:3], padding, strict=True)
    ]
    x = jnp.pad(x, ((0, 0), *missing, (0, 0)))

    def add_row(row: Array, total: Array) -> Array:
        columns = []
        for i in range(kh):
            for j in range(kw):
                start = (0, row * stride[0] + i * dilation[0], j * dilation[1], 0)
                seen = lax.dynamic_slice(x, start, (b, 1, (ow - 1) * stride[1] + 1, c))
                columns.append(seen[:, :, :: stride[1]])
        seen = jnp.concatenate(columns, axis=-1).reshape(b * ow, -1)
        given = lax.dynamic_slice(g, (0, row, 0, 0), (b, 1, ow, o)).reshape(b * ow, o)
        return total + _over_pixels(seen, given)

    total = lax.fori_loop(0, oh, add_row, jnp.zeros((kh * kw * c, o), jnp.float32))
    return total.reshape(kh, kw, c, o).astype(x.dtype)
