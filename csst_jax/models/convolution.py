"""Two-dimensional convolution whose form is picked by platform when the program is lowered.

XLA's CPU backend runs depthwise convolutions about thirty times slower than they need be, and the backward pass of 1x1
ones three times slower. On CPU they become shifted multiply-adds and matrix products; every other platform gets
`lax.conv_general_dilated`, which its compiler knows how to treat. `benchmarks/convolution.py` measures both.

Grouped convolutions with several channels a group (ResNeXt's) are dense ones on every platform, of blocks of groups
with zeros between them. XLA gathers images on every device when it meets `feature_group_count` on a batch that is split
over devices (openxla/xla#47945); dense convolutions stay split and exchange borders of rows alone. The zeros pay,
forward and backward with 32 groups of 4 to 32 channels: on CPU the blocks are 200 times faster than the plain form or
more, on TPU v5e its compiler estimates between as many cycles and a fourteenth. They cost a larger sum of the weights'
gradient over devices, by up to the number of groups in a block.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
Form = Callable[[Array, Array], Array]

_ROWS_PER_ITERATION = 4  # measured: longer unrolling spills, shorter pays the loop
# Inputs of a grouped convolution's dense blocks: what fills a TPU's 128 x 128 products; a CPU computes zeros at full
# price.
_BLOCK_CHANNELS, _BLOCK_CHANNELS_ON_CPU = 128, 32


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


def _grouped(
    x: Array, kernel: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int, block_channels: int
) -> Array:
    """Dense convolutions of the fewest neighbouring groups that together have `block_channels` inputs."""
    kh, kw, i, o = kernel.shape
    together = next(n for n in range(1, groups + 1) if groups % n == 0 and (n * i >= block_channels or n == groups))
    place = np.arange(o) // (o // groups) % together  # of an output's group in its block
    own = np.arange(together)[:, None, None] == place
    kernel = jnp.where(own, kernel[:, :, None], 0).reshape(kh, kw, together * i, o)
    xs, kernels = (jnp.split(array, groups // together, axis=-1) for array in (x, kernel))
    parts = [_plain(part, k, stride, padding, dilation, 1) for part, k in zip(xs, kernels, strict=True)]
    return jnp.concatenate(parts, axis=-1)


def _cpu_form(x: Array, kernel: Array, stride: Pair, padding: Padding, groups: int) -> str | None:
    kh, kw, channels_per_group, cout = kernel.shape
    if (kh, kw) == (1, 1) and stride == (1, 1) and padding == ((0, 0), (0, 0)) and groups == 1:
        return "pointwise"
    if groups > 1 and channels_per_group > 1:
        return "grouped"
    if groups > 1 and groups == x.shape[-1] == cout:
        return "depthwise"
    return None


def _forms(x: Array, kernel: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> dict[str, Form]:
    """What computes the convolution, by platform."""
    how = (stride, padding, dilation)
    form = _cpu_form(x, kernel, stride, padding, groups)
    if form == "grouped":
        return {
            "cpu": lambda x, k: _grouped(x, k, *how, groups, _BLOCK_CHANNELS_ON_CPU),
            "default": lambda x, k: _grouped(x, k, *how, groups, _BLOCK_CHANNELS),
        }
    forms: dict[str, Form] = {"default": lambda x, k: _plain(x, k, *how, groups)}
    if form == "pointwise":
        forms["cpu"] = _pointwise
    if form == "depthwise":
        forms["cpu"] = lambda x, k: _depthwise(x, k, *how)
    return forms


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
    return lax.platform_dependent(x, kernel, **_forms(x, kernel, stride, padding, dilation, groups))


def _forward(
    x: Array, kernel: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> tuple[Array, tuple[Array, Array]]:
    return conv2d(x, kernel, stride, padding, dilation, groups), (x, kernel)


def _backward(
    stride: Pair, padding: Padding, dilation: Pair, groups: int, saved: tuple[Array, Array], g: Array
) -> tuple[Array, Array]:
    x, kernel = saved

    def gradients(form: Form) -> Callable[[Array, Array, Array], tuple[Array, Array]]:
        return lambda x, kernel, g: jax.vjp(form, x, kernel)[1](g)

    forms = _forms(x, kernel, stride, padding, dilation, groups)
    backward = {platform: gradients(form) for platform, form in forms.items()}
    if _cpu_form(x, kernel, stride, padding, groups) == "depthwise":
        backward["cpu"] = lambda x, kernel, g: _depthwise_gradients(x, kernel, g, stride, padding, dilation)
    return lax.platform_dependent(x, kernel, g, **backward)


conv2d.defvjp(_forward, _backward)
