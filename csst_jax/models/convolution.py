"""Two-dimensional convolution whose form is picked by platform when the program is lowered.

XLA's CPU backend runs depthwise convolutions about thirty times slower than they need be, and the backward pass of 1x1
ones three times slower. On CPU they become shifted multiply-adds and matrix products; every other platform gets
`lax.conv_general_dilated`, which its compiler knows how to treat. `benchmarks/convolution.py` measures both.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

if TYPE_CHECKING:
    from collections.abc import Callable


Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

_ROWS_PER_ITERATION = 4  # measured: longer unrolling spills, shorter pays the loop


def _plain(x: Array, kernel: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=stride,
        padding=padding,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _pointwise(x: Array, kernel: Array) -> Array:
    return jnp.einsum("bhwc,cd->bhwd", x, kernel[0, 0])


def _pad(x: Array, padding: Padding) -> Array:
    return jnp.pad(x, ((0, 0), *padding, (0, 0)))


def _depthwise(x: Array, kernel: Array, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """Sum over the taps of shifted copies of the input, each times its tap's weights."""
    kh, kw = kernel.shape[:2]
    x = _pad(x, padding)
    b, h, w, c = x.shape
    oh = (h - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (w - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    total = None
    for i in range(kh):
        for j in range(kw):
            y0, x0 = i * dilation[0], j * dilation[1]
            limit = (b, y0 + (oh - 1) * stride[0] + 1, x0 + (ow - 1) * stride[1] + 1, c)
            term = lax.slice(x, (0, y0, x0, 0), limit, (1, *stride, 1)) * kernel[i, j, 0]
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
    k = _ROWS_PER_ITERATION
    iterations = -(-oh // k)
    reach = (k - 1) * stride[0] + (kh - 1) * dilation[0] + 1
    x = _pad(x, padding)
    missing = (iterations - 1) * k * stride[0] + reach - x.shape[1]
    x = jnp.pad(x, ((0, 0), (0, max(0, missing)), (0, 0), (0, 0)))
    g = jnp.pad(g, ((0, 0), (0, iterations * k - oh), (0, 0), (0, 0)))
    columns = (ow - 1) * stride[1] + 1

    def body(t: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        rows_g = lax.dynamic_slice(g, (0, t * k, 0, 0), (b, k, ow, c))
        rows_x = lax.dynamic_slice(x, (0, t * k * stride[0], 0, 0), (b, reach, x.shape[2], c))
        new = []
        for i in range(kh):
            for j in range(kw):
                total = sums[i * kw + j]
                for r in range(k):
                    row = rows_x[:, r * stride[0] + i * dilation[0]]
                    x0 = j * dilation[1]
                    shifted = row[:, x0 : x0 + columns : stride[1]]
                    total = total + shifted.astype(jnp.float32) * rows_g[:, r].astype(jnp.float32)
                new.append(total)
        return tuple(new)

    sums = lax.fori_loop(0, iterations, body, (jnp.zeros((b, ow, c), jnp.float32),) * (kh * kw))
    return jnp.stack([jnp.sum(s, (0, 1)) for s in sums]).reshape(kh, kw, 1, c).astype(x.dtype)


def _depthwise_gradients(
    x: Array, kernel: Array, g: Array, stride: Pair, padding: Padding, dilation: Pair
) -> tuple[Array, Array]:
    kh, kw = kernel.shape[:2]
    _, vjp = jax.vjp(lambda x: _depthwise(x, kernel, stride, padding, dilation), x)
    (dx,) = vjp(g)
    return dx, _depthwise_kernel_gradient(x, g, (kh, kw), stride, padding, dilation)


def _cpu_form(x: Array, kernel: Array, stride: Pair, padding: Padding, groups: int) -> str | None:
    kh, kw, _, cout = kernel.shape
    if (kh, kw) == (1, 1) and stride == (1, 1) and padding == ((0, 0), (0, 0)) and groups == 1:
        return "pointwise"
    if groups > 1 and groups == x.shape[-1] == cout:
        return "depthwise"
    return None


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def conv2d(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "kh kw i o"],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Float[Array, "b p q o"]:
    """Cross-correlation, as PyTorch's `Conv2d` computes it.

    Args:
      x: the input, channels last.
      kernel: weights, height x width x (input channels / groups) x output channels.
      stride: step down and across.
      padding: zeros added ((above, below), (left, right)); explicit, since "SAME" is asymmetric at stride 2.
      dilation: distance between taps.
      groups: number of channel groups (`feature_group_count`).
    """
    form = _cpu_form(x, kernel, stride, padding, groups)
    plain: Callable[[Array, Array], Array] = lambda x, k: _plain(x, k, stride, padding, dilation, groups)  # noqa: E731
    if form == "pointwise":
        return lax.platform_dependent(x, kernel, cpu=_pointwise, default=plain)
    if form == "depthwise":
        return lax.platform_dependent(
            x, kernel, cpu=lambda x, k: _depthwise(x, k, stride, padding, dilation), default=plain
        )
    return plain(x, kernel)


def _forward(
    x: Array, kernel: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> tuple[Array, tuple[Array, Array]]:
    return conv2d(x, kernel, stride, padding, dilation, groups), (x, kernel)


def _backward(
    stride: Pair, padding: Padding, dilation: Pair, groups: int, saved: tuple[Array, Array], g: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    form = _cpu_form(x, kernel, stride, padding, groups)

    def plain(x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
        return jax.vjp(lambda x, k: _plain(x, k, stride, padding, dilation, groups), x, kernel)[1](g)

    if form == "pointwise":
        cpu = lambda x, k, g: jax.vjp(_pointwise, x, k)[1](g)  # noqa: E731
        return lax.platform_dependent(x, kernel, g, cpu=cpu, default=plain)
    if form == "depthwise":
        cpu = lambda x, k, g: _depthwise_gradients(x, k, g, stride, padding, dilation)  # noqa: E731
        return lax.platform_dependent(x, kernel, g, cpu=cpu, default=plain)
    return plain(x, kernel, g)


conv2d.defvjp(_forward, _backward)
