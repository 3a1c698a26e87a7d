"""Two-dimensional convolution whose form is picked by platform when the program is lowered.

XLA's CPU backend runs depthwise convolutions about thirty times slower than they need be, and the backward pass of 1x1
ones three times slower. On CPU they become shifted multiply-adds and matrix products; every other platform gets
`lax.conv_general_dilated`, which its compiler knows how to treat. `benchmarks/convolution.py` measures both. On TPU,
convolutions of few channels with stride 2 are ones of blocks of pixels (`blocks.py`).

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

from csst_jax.models.ops import cpu_convolution as cpu
from csst_jax.models.ops.blocks import convolve_blocks
from csst_jax.models.ops.rows import evenly_shared, sharing_devices
from csst_jax.models.ops.winograd import winograd
from csst_jax.platforms import by_platform

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
Form = Callable[[Array, Array], Array]

_WINOGRAD_CHANNELS = 128  # measured: with fewer, its sums and differences cost more than the products that it saves
# Inputs of a grouped convolution's dense blocks: what fills a TPU's 128 x 128 products; a CPU computes zeros at full
# price.
_BLOCK_CHANNELS, _BLOCK_CHANNELS_ON_CPU = 128, 32
_LANES = 128  # channels that a TPU stores side by side, whether they are there or not
_IMAGE_CHANNELS = 4  # at most


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


def _dense_gradients(
    x: Array, kernel: Array, g: Array, stride: Pair, padding: Padding, dilation: Pair
) -> tuple[Array, Array]:
    kh, kw = kernel.shape[:2]
    form = _cpu_form(x, kernel, stride, padding, dilation, 1)
    if form == "winograd":
        rest = [(2 * d - before, 2 * d - after) for (before, after), d in zip(padding, dilation, strict=True)]
        dx = winograd(g, kernel, (rest[0], rest[1]), dilation, backwards=True)
    else:
        _, vjp = jax.vjp(lambda x: _plain(x, kernel, stride, padding, dilation, 1), x)
        (dx,) = vjp(g)
    return dx, cpu.dense_kernel_gradient(x, g, (kh, kw), stride, padding, dilation)


def _cpu_form(x: Array, kernel: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> str | None:
    kh, kw, channels_per_group, cout = kernel.shape
    if (kh, kw) == (1, 1) and stride == (1, 1) and padding == ((0, 0), (0, 0)) and groups == 1:
        return "pointwise"
    if groups > 1 and channels_per_group > 1:
        return "grouped"
    if groups > 1 and groups == x.shape[-1] == cout:
        return "depthwise"
    wide = min(channels_per_group, cout) >= _WINOGRAD_CHANNELS
    # Of a dilated image every d-th pixel makes an image of its own, if padding is whole ones of these.
    inside = all(pads[0] in (0, d, 2 * d) and pads[1] <= 2 * d for pads, d in zip(padding, dilation, strict=True))
    if wide and (kh, kw) == (3, 3) and stride == (1, 1) and inside:
        return "winograd"
    return None


def output_blocks(
    x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> int | None:
    """On TPU: the side of the blocks of outputs that the convolution is computed in; None where it is the plain one.

    Networks' first convolutions are such, and depthwise ones of few channels with stride 2.
    """
    kh, kw, channels_per_group, cout = kernel_shape
    if groups == 1 and channels_per_group <= _IMAGE_CHANNELS:
        side = 2
    elif 1 < groups == cout == x_shape[-1] <= _LANES // 4:
        side = 1
    else:
        return None
    sizes = zip(x_shape[1:3], (kh, kw), padding, strict=True)
    halved = all(n % (2 * side) == 0 and (n + sum(pads) - taps) // 2 + 1 == n // 2 for n, taps, pads in sizes)
    return side if halved and stride == (2, 2) and dilation == (1, 1) else None


def _forms(x: Array, kernel: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> dict[str, Form]:
    """What computes the convolution, by platform."""
    geometry = (stride, padding, dilation)
    form = _cpu_form(x, kernel, stride, padding, dilation, groups)
    if form == "grouped":
        return {
            "cpu": lambda x, k: _grouped(x, k, *geometry, groups, _BLOCK_CHANNELS_ON_CPU),
            "default": lambda x, k: _grouped(x, k, *geometry, groups, _BLOCK_CHANNELS),
        }
    forms: dict[str, Form] = {"default": lambda x, k: _plain(x, k, *geometry, groups)}
    if form == "pointwise":
        forms["cpu"] = _pointwise
    if form == "depthwise":
        forms["cpu"] = lambda x, k: cpu.depthwise(x, k, *geometry)
    if form == "winograd":
        forms["cpu"] = lambda x, k: winograd(x, k, padding, dilation)
    side = output_blocks(x.shape, kernel.shape, *geometry, groups)
    if side is not None:
        forms["tpu"] = lambda x, k: convolve_blocks(x, k, stride, padding, groups, side)
    return forms


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
    (rows, above), (columns, beside) = (
        _taps_inside(*sides) for sides in zip(x.shape[1:3], kernel.shape[:2], stride, padding, dilation, strict=True)
    )
    y = _conv2d(evenly_shared(x), kernel[rows, columns], stride, (above, beside), dilation, groups)
    return evenly_shared(y)


def _taps_inside(size: int, taps: int, stride: int, padding: Pair, dilation: int) -> tuple[slice, Pair]:
    """The taps along one side that meet the image at all, and the padding that they need.

    A dilation of 36 on 20 pixels leaves the middle one of three; the others multiply zeros.
    """
    before, after = padding
    steps = (before + size + after - dilation * (taps - 1) - 1) // stride
    met = [any(0 <= tap * dilation - before + stride * n < size for n in range(steps + 1)) for tap in range(taps)]
    if all(met) or not any(met):
        return slice(None), padding
    first, last = met.index(True), taps - 1 - met[::-1].index(True)
    before, after = before - first * dilation, after - (taps - 1 - last) * dilation
    return (slice(first, last + 1), (before, after)) if min(before, after) >= 0 else (slice(None), padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def _conv2d(x: Array, kernel: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> Array:
    return by_platform(x, kernel, **_forms(x, kernel, stride, padding, dilation, groups))


def _forward(
    x: Array, kernel: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> tuple[Array, tuple[Array, Array]]:
    return _conv2d(x, kernel, stride, padding, dilation, groups), (x, kernel)


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
        backward["cpu"] = cpu.pointwise_gradients
    if groups == 1 and form != "pointwise":
        backward["cpu"] = lambda x, kernel, g: _dense_gradients(x, kernel, g, stride, padding, dilation)
    if form == "depthwise":
        backward["cpu"] = lambda x, kernel, g: cpu.depthwise_gradients(x, kernel, g, stride, padding, dilation)
    if 1 < groups == x.shape[-1] == kernel.shape[-1] and sharing_devices() > 1:
        # Of features that lie whole on the devices that share rows, and are split by the batch over others, XLA adds up
        # the gradient of a depthwise kernel over all devices: it comes out as many times too large (JAX 0.10.2).
        backward["default"] = lambda x, kernel, g: cpu.depthwise_gradients(x, kernel, g, stride, padding, dilation)
    return by_platform(x, kernel, g, **backward)


_conv2d.defvjp(_forward, _backward)
