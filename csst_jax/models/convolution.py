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

from csst_jax.models.winograd import winograd

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
Form = Callable[[Array, Array], Array]

_ROWS_PER_ITERATION = 4  # measured: longer unrolling spills, shorter pays the loop
_WINOGRAD_CHANNELS = 128  # measured: with fewer, its sums and differences cost more than the products that it saves
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


def _pointwise_gradients(x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
    """Written out because JAX's rule transposes the gradient in memory for the product with the input."""
    dx = jnp.einsum("bhwd,cd->bhwc", g, kernel[0, 0])
    over_pixels = (((0,), (0,)), ((), ()))
    dk = lax.dot_general(x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1]), over_pixels)
    return dx, dk[None, None]


def _pad(x: Array, padding: Padding) -> Array:
    return jnp.pad(x, ((0, 0), *padding, (0, 0)))


def _side_by_side(x: Array, rows: int, taps: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """The padded input of `rows` rows of a depthwise convolution's output, [b, h, w / stride, stride * c].

    Every `stride` columns become the channels of one: what a tap reads of a row is then one dense slice, which is
    vectorised where a strided one is not. Rows are as many as whole iterations of the weight gradient need, so that
    forward and backward pass share one array.
    """
    rows = -(-rows // _ROWS_PER_ITERATION) * _ROWS_PER_ITERATION
    b, h, w, c = x.shape
    (top, bottom), (left, right) = padding
    missing = (rows - 1) * stride[0] + dilation[0] * (taps[0] - 1) + 1 - (top + h + bottom)
    right += -(left + w + right) % stride[1]
    x = _pad(x, ((top, bottom + max(0, missing)), (left, right)))
    return x.reshape(b, x.shape[1], x.shape[2] // stride[1], stride[1] * c)


def _depthwise(x: Array, kernel: Array, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """Sum over the taps of shifted copies of the input, each times its tap's weights."""
    kh, kw, _, c = kernel.shape
    oh, ow = (
        (n + sum(pads) - d * (k - 1) - 1) // s + 1
        for n, pads, d, k, s in zip(x.shape[1:3], padding, dilation, (kh, kw), stride, strict=True)
    )
    wide = _side_by_side(x, oh, (kh, kw), stride, padding, dilation)
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
    wide = _side_by_side(x, oh, kernel_shape, stride, padding, dilation)
    g = jnp.pad(g, ((0, 0), (0, iterations * _ROWS_PER_ITERATION - oh), (0, 0), (0, 0)))

    def body(t: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        new = []
        for tap, total in enumerate(sums):
            down, (across, part) = tap // kw * dilation[0], divmod(tap % kw * dilation[1], stride[1])
            for row in (t * _ROWS_PER_ITERATION + r for r in range(_ROWS_PER_ITERATION)):
                # A slice of a slice would not be vectorised either.
                seen = lax.dynamic_slice(wide, (0, row * stride[0] + down, across, part * c), (b, 1, ow, c))
                given = lax.dynamic_slice(g, (0, row, 0, 0), (b, 1, ow, c))
                total = total + seen.astype(jnp.float32) * given.astype(jnp.float32)
            new.append(total)
        return tuple(new)

    sums = lax.fori_loop(0, iterations, body, (jnp.zeros((b, 1, ow, c), jnp.float32),) * (kh * kw))
    return jnp.stack([jnp.sum(s, (0, 1, 2)) for s in sums]).reshape(kh, kw, 1, c).astype(x.dtype)


def _depthwise_input_gradient(g: Array, kernel: Array, x_size: Pair, stride: Pair, padding: Padding) -> Array:
    """Gradient for the input of a depthwise convolution with strides and without dilation.

    Input pixels with the same remainders by the stride see the same taps, of neighbouring outputs: each such set is a
    sum of dense slices, and putting the sets side by side is cheaper than JAX's sum of nine arrays spread with zeros.
    """
    meets, counts, pads = [], [], []
    for size, s, (before, _), taps, outputs in zip(x_size, stride, padding, kernel.shape, g.shape[1:3], strict=False):
        # By remainder: the taps that meet such pixels, and how far their outputs are from pixel // stride.
        by_remainder = [[(t, (r + before - t) // s) for t in range((r + before) % s, taps, s)] for r in range(s)]
        offsets = [offset for met in by_remainder for _, offset in met]
        count = -(-size // s)
        meets.append(by_remainder)
        counts.append(count)
        pads.append((max(0, -min(offsets)), max(0, count + max(offsets) - outputs)))
    (top, _), (left, _) = pads
    g = _pad(g, (pads[0], pads[1]))
    b, c = g.shape[0], g.shape[3]

    def summed(down_taps: list[Pair], across_taps: list[Pair]) -> Array:
        total = jnp.zeros((b, *counts, c), g.dtype)
        for i, down in down_taps:
            for j, across in across_taps:
                y, x = top + down, left + across
                total = total + lax.slice(g, (0, y, x, 0), (b, y + counts[0], x + counts[1], c)) * kernel[i, j, 0]
        return total

    rows = [jnp.stack([summed(down, across) for across in meets[1]], axis=3) for down in meets[0]]
    dx = jnp.stack(rows, axis=2).reshape(b, counts[0] * stride[0], counts[1] * stride[1], c)
    return dx[:, : x_size[0], : x_size[1]]


def _depthwise_gradients(
    x: Array, kernel: Array, g: Array, stride: Pair, padding: Padding, dilation: Pair
) -> tuple[Array, Array]:
    kh, kw = kernel.shape[:2]
    if stride == (1, 1) or dilation != (1, 1):
        _, vjp = jax.vjp(lambda x: _depthwise(x, kernel, stride, padding, dilation), x)
        (dx,) = vjp(g)
    else:
        dx = _depthwise_input_gradient(g, kernel, (x.shape[1], x.shape[2]), stride, padding)
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


def _cpu_form(x: Array, kernel: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> str | None:
    kh, kw, channels_per_group, cout = kernel.shape
    if (kh, kw) == (1, 1) and stride == (1, 1) and padding == ((0, 0), (0, 0)) and groups == 1:
        return "pointwise"
    if groups > 1 and channels_per_group > 1:
        return "grouped"
    if groups > 1 and groups == x.shape[-1] == cout:
        return "depthwise"
    if (kh, kw) == (3, 3) and stride == dilation == (1, 1) and min(channels_per_group, cout) >= _WINOGRAD_CHANNELS:
        return "winograd"
    return None


def _forms(x: Array, kernel: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> dict[str, Form]:
    """What computes the convolution, by platform."""
    how = (stride, padding, dilation)
    form = _cpu_form(x, kernel, stride, padding, dilation, groups)
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
    if form == "winograd":
        forms["cpu"] = lambda x, k: winograd(x, k, padding)
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
    form = _cpu_form(x, kernel, stride, padding, dilation, groups)
    if form == "pointwise":
        backward["cpu"] = _pointwise_gradients
    if form == "depthwise":
        backward["cpu"] = lambda x, kernel, g: _depthwise_gradients(x, kernel, g, stride, padding, dilation)
    return lax.platform_dependent(x, kernel, g, **backward)


conv2d.defvjp(_forward, _backward)
