"""Convolutions of few channels as ones of blocks of pixels, for TPUs.

A TPU's registers and memory hold 128 channels side by side: features of 32 take four times their size, an image's three
channels forty times. Every n x n pixels of such features become the channels of one ("space to depth"), and the
convolution one with a larger kernel that holds the same weights, and zeros: the same sums in another order.
`convolution.py` says which convolutions are computed so.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from csst_jax.models.ops.cpu_convolution import Padding, Pair


def to_blocks(x: Float[Array, "b h w c"], side: int) -> Float[Array, "b p q d"]:
    """Blocks of side x side pixels as the channels of one, by column, row and channel; they must divide the image."""
    return x if side == 1 else _columns_to_channels(_rows_to_channels(x, side), side)


def from_blocks(x: Float[Array, "b p q d"], side: int) -> Float[Array, "b h w c"]:
    """The inverse of `to_blocks`. XLA drops the two where one follows the other."""
    if side == 1:
        return x
    b, h, w, c = x.shape
    x = x.reshape(b, h, w * side, side, c // side**2)
    return x.transpose(0, 1, 3, 2, 4).reshape(b, h * side, w * side, c // side**2)


def spread(values: Float[Array, " c"], channels: int) -> Float[Array, " d"]:
    """Numbers per channel as ones for each channel of blocks, of which there are `channels`."""
    return values if values.size == channels else jnp.tile(values, channels // values.size)


def gather(sums: Float[Array, " d"], channels: int) -> Float[Array, " c"]:
    """Sums over each channel of blocks as ones over each of the `channels` of pixels."""
    return sums if sums.size == channels else sums.reshape(-1, channels).sum(0)


def _rows_to_channels(x: Array, side: int) -> Array:
    b, h, w, c = x.shape
    return x.reshape(b, h // side, side, w, c).transpose(0, 1, 3, 2, 4).reshape(b, h // side, w, side * c)


def _columns_to_channels(x: Array, side: int) -> Array:
    b, h, w, c = x.shape
    return x.reshape(b, h, w // side, side * c)


def convolve_blocks(x: Array, kernel: Array, stride: Pair, padding: Padding, groups: int, side: int) -> Array:
    """The convolution of `conv2d` without dilation, computed on blocks of which one gives side x side outputs.

    Args:
      x: [b, h, w, c], of sizes that are multiples of side * stride and give h / stride x w / stride outputs.
      kernel: as `conv2d`'s; several groups are those of a depthwise convolution.
      stride: the same down and across.
      padding: as `conv2d`'s.
      groups: as `conv2d`'s.
      side: of a block of outputs.
    """
    if groups > 1:
        kernel = kernel * jnp.eye(groups, dtype=kernel.dtype)
    places = [_places(taps, stride[0], pads[0], side) for taps, pads in zip(kernel.shape[:2], padding, strict=True)]
    (rows, up), (columns, left) = places
    # Each weight times one, and no two in one place: exact in any dtype.
    blocked = jnp.einsum(
        "ahrt,bwsu,tuio->abwhisro", rows.astype(kernel.dtype), columns.astype(kernel.dtype), kernel, precision="highest"
    )
    a, b, w, h, i, s, r, o = blocked.shape
    x = _rows_to_channels(x, h)
    if groups == 1:
        # In two steps: an image's three channels are padded to 128 in what XLA would make of both together.
        x = lax.optimization_barrier(x)
    y = lax.conv_general_dilated(
        _columns_to_channels(x, w),
        blocked.reshape(a, b, w * h * i, s * r * o),
        window_strides=(1, 1),
        padding=((up, a - 1 - up), (left, b - 1 - left)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return from_blocks(y, side)


def _places(taps: int, stride: int, before: int, side: int) -> tuple[np.ndarray, int]:
    """Which pixel of which block each tap of each output of a block meets, along one axis.

    Returns:
      Ones and zeros [block, pixel, output, tap], and how many blocks lie before the output's own.
    """
    met = {(output, tap): output * stride - before + tap for output in range(side) for tap in range(taps)}
    pixels = side * stride
    blocks = [pixel // pixels for pixel in met.values()]
    places = np.zeros((max(blocks) - min(blocks) + 1, pixels, side, taps), np.float32)
    for (output, tap), pixel in met.items():
        places[pixel // pixels - min(blocks), pixel % pixels, output, tap] = 1.0
    return places, -min(blocks)
