"""The head of DPT (Ranftl et al., arXiv:2103.13413) in UniMatch V2's form: no normalisation, no dropout.

Source: LiheYoung/UniMatch-V2, `model/semseg/dpt.py` and `model/util/blocks.py`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.layers import Conv, fan_in_std
from csst_jax.models.ops.resize import resize
from csst_jax.models.rematerialisation import may_rematerialise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax.typing import DTypeLike

_GAIN = 1 / 3  # of the initial weights, by fan-in: PyTorch's default


def _conv(
    in_channels: int,
    out_channels: int,
    size: int,
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
    bias: bool = True,
    stride: int = 1,
) -> Conv:
    return Conv(
        in_channels,
        out_channels,
        size,
        rngs=rngs,
        stride=stride,
        padding=size // 2,
        bias=bias,
        init_std=fan_in_std(in_channels, size, _GAIN),
        dtype=dtype,
    )


class Upsample(nnx.Module):
    """A transposed convolution whose kernel is as large as its stride: each pixel becomes a block by a linear map."""

    def __init__(self, channels: int, factor: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        shape = (factor, factor, channels, channels)
        std = math.sqrt(_GAIN / (factor * factor * channels))
        self.kernel = nnx.Param(std * jax.random.normal(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros((channels,), jnp.float32))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q c"]:
        """`factor` times as high and wide."""
        b, h, w, c = x.shape
        factor = self.kernel.shape[0]
        y = jnp.einsum("bhwc,ijcd->bhwijd", x.astype(self.dtype), self.kernel[...].astype(self.dtype))
        y = jnp.transpose(y, (0, 1, 3, 2, 4, 5)).reshape(b, factor * h, factor * w, c)
        return y + self.bias[...].astype(self.dtype)


class ResidualUnit(nnx.Module):
    """ReLU and convolution, twice, added to the input: `ResidualConvUnit` there."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.conv1 = _conv(channels, channels, 3, rngs=rngs, dtype=dtype)
        self.conv2 = _conv(channels, channels, 3, rngs=rngs, dtype=dtype)
        self.remat = False

    @may_rematerialise
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Of the input's size."""
        return x + self.conv2(jax.nn.relu(self.conv1(jax.nn.relu(x))))


class Fusion(nnx.Module):
    """Adds finer features to the sum so far, and resizes: `FeatureFusionBlock` there.

    The coarsest has none to add, and no `unit1`. The reference holds one there, which it never uses.
    """

    def __init__(self, channels: int, *, coarsest: bool, rngs: nnx.Rngs, dtype: DTypeLike):
        self.unit1 = None if coarsest else ResidualUnit(channels, rngs=rngs, dtype=dtype)
        self.unit2 = ResidualUnit(channels, rngs=rngs, dtype=dtype)
        self.out_conv = _conv(channels, channels, 1, rngs=rngs, dtype=dtype)

    def __call__(
        self, coarse: Float[Array, "b h w c"], fine: Float[Array, "b h w c"] | None, size: tuple[int, int]
    ) -> Float[Array, "b p q c"]:
        """Of the given size."""
        if self.unit1 is not None:
            assert fine is not None
            coarse = coarse + self.unit1(fine)
        return self.out_conv(resize(self.unit2(coarse), size, align_corners=True))


class DPTHead(nnx.Module):
    """Four maps of one size become a pyramid at 4, 2, 1 and 1/2 of it, which is summed from coarse to fine.

    `projects`, `upsample4`, `upsample2` and `downsample2` make the pyramid, `layers` bring it to one number of
    channels, `fusions` sum it, each list from the finest; `output` is the convolution before the classifier.
    """

    def __init__(self, in_channels: int, inside: Sequence[int], channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.projects = nnx.List([_conv(in_channels, c, 1, rngs=rngs, dtype=dtype) for c in inside])
        self.upsample4 = Upsample(inside[0], 4, rngs=rngs, dtype=dtype)
        self.upsample2 = Upsample(inside[1], 2, rngs=rngs, dtype=dtype)
        self.downsample2 = _conv(inside[3], inside[3], 3, rngs=rngs, stride=2, dtype=dtype)
        self.layers = nnx.List([_conv(c, channels, 3, rngs=rngs, bias=False, dtype=dtype) for c in inside])
        self.fusions = nnx.List([Fusion(channels, coarsest=i == 3, rngs=rngs, dtype=dtype) for i in range(4)])
        self.output = _conv(channels, channels, 3, rngs=rngs, dtype=dtype)

    def __call__(self, features: Sequence[Float[Array, "b h w c"]]) -> Float[Array, "b p q d"]:
        """What the classifier sees, eight times as high and wide as the four maps."""
        maps = [project(x) for project, x in zip(self.projects, features, strict=True)]
        maps = [self.upsample4(maps[0]), self.upsample2(maps[1]), maps[2], self.downsample2(maps[3])]
        maps = [layer(x) for layer, x in zip(self.layers, maps, strict=True)]
        sizes = [(x.shape[1], x.shape[2]) for x in maps]
        y = self.fusions[3](maps[3], None, sizes[2])
        y = self.fusions[2](y, maps[2], sizes[1])
        y = self.fusions[1](y, maps[1], sizes[0])
        y = self.fusions[0](y, maps[0], (2 * sizes[0][0], 2 * sizes[0][1]))
        return jax.nn.relu(self.output(y))
