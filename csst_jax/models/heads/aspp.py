"""Atrous spatial pyramid pooling (Chen et al., DeepLabV3, arXiv:1706.05587, §3.3), as all lineages of DeepLab use it.

| lineage                        | `pool_first` | `separable` | `project_kernel` | `dropout`       | `channels` |
|--------------------------------|--------------|-------------|------------------|-----------------|------------|
| PyTorch-Encoding DeepLabV3     | False        | None        | 1                | 0.5, channels   | 256        |
| gluon-cv, torchvision          | False        | None        | 1                | 0.5, elements   | 256        |
| smp DeepLabV3 (DeepLabV3+)     | False        | (`"plain"`) | 1                | 0.5, elements   | 256        |
| VPLR (NVIDIA) DeepLabV3+       | True         | None        | None             | 0               | 256        |
| mmsegmentation V3 (V3+)        | True         | (`"norm"`)  | 3                | 0               | 512        |

VPLR's own 1x1 convolution after the concatenation has no batch normalisation; the network owns it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.layers import Conv, ConvBN, Dropout
from csst_jax.models.ops.pooling import image_mean
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax.typing import DTypeLike

SEPARABLE = ("norm", "plain")
"""Between a separable convolution's two parts: batch normalisation and ReLU (mmsegmentation), or nothing (smp)."""


class SeparableConv(nnx.Module):
    """Depthwise convolution (`depthwise`), then a 1x1 one with batch normalisation and ReLU (`pointwise`)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        rngs: nnx.Rngs,
        kind: str = "norm",
        stride: int = 1,
        dilation: int = 1,
        relu: bool = True,
        momentum: float = 0.1,
        dtype: DTypeLike = jnp.float32,
    ):
        """Builds both parts.

        Args:
          in_channels: of the input.
          out_channels: of the result.
          kernel_size: of the depthwise convolution.
          rngs: where initial weights are drawn from.
          kind: one of `SEPARABLE`. "norm": `depthwise` is a `ConvBN`; "plain": it is a `Conv`.
          stride: of the depthwise convolution.
          dilation: likewise.
          relu: of kind "norm", whether there is a ReLU between the parts.
          momentum: of the running statistics.
          dtype: compute dtype.

        Raises:
          CsstError: unknown kind.
        """
        if kind not in SEPARABLE:
            raise CsstError(f"unknown kind of separable convolution {kind!r}; known are: {', '.join(SEPARABLE)}.")
        layer = functools.partial(ConvBN, relu=relu, momentum=momentum) if kind == "norm" else Conv
        self.depthwise = layer(
            in_channels,
            in_channels,
            kernel_size,
            rngs=rngs,
            stride=stride,
            padding=dilation * (kernel_size - 1) // 2,
            dilation=dilation,
            groups=in_channels,
            dtype=dtype,
        )
        self.pointwise = ConvBN(in_channels, out_channels, rngs=rngs, momentum=momentum, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q o"]:
        """Output in the compute dtype."""
        return self.pointwise(self.depthwise(x))


class ASPP(nnx.Module):
    """A 1x1 convolution, one dilated 3x3 convolution a rate, and the image's mean, concatenated and projected.

    Attributes (which import rules name):
      convs: list of the 1x1 `ConvBN` (`convs.0`) and, in the order of the rates, the dilated 3x3 ones (`convs.1` …):
        each a `ConvBN`, or a `SeparableConv`.
      pool: `ConvBN` 1x1 on the image's mean.
      project: `ConvBN` after the concatenation, or None.
      out_channels: channels of the result: `channels`, or those of the concatenation without a projection.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int = 256,
        *,
        rngs: nnx.Rngs,
        rates: Sequence[int] = (12, 24, 36),
        pool_first: bool = False,
        separable: str | None = None,
        project_kernel: int | None = 1,
        dropout: float = 0.0,
        dropout_channels: bool = False,
        dtype: DTypeLike = jnp.float32,
    ):
        """Builds the branches.

        Args:
          in_channels: of the input.
          channels: of each branch and of the projection.
          rngs: where initial weights are drawn from.
          rates: dilations of the 3x3 convolutions: 12, 24, 36 at output stride 8, half of them at 16.
          pool_first: whether the image's mean comes first in the concatenation, or last.
          separable: one of `SEPARABLE`: the dilated convolutions are separable ones of that kind. None: dense.
          project_kernel: size of the projection's kernel; None leaves the projection out.
          dropout: rate after the projection (after the concatenation, if there is none).
          dropout_channels: whether dropout drops whole channels of an image.
          dtype: compute dtype.
        """
        self.convs: nnx.List = nnx.List([ConvBN(in_channels, channels, rngs=rngs, dtype=dtype)])
        for rate in rates:
            self.convs.append(
                ConvBN(in_channels, channels, 3, rngs=rngs, dilation=rate, dtype=dtype)
                if separable is None
                else SeparableConv(in_channels, channels, rngs=rngs, kind=separable, dilation=rate, dtype=dtype)
            )
        self.pool = ConvBN(in_channels, channels, rngs=rngs, dtype=dtype)
        width = channels * (len(self.convs) + 1)
        self.project = (
            None if project_kernel is None else ConvBN(width, channels, project_kernel, rngs=rngs, dtype=dtype)
        )
        self.dropout = Dropout(dropout, rngs=rngs, channels=dropout_channels) if dropout else None
        self.pool_first = pool_first
        self.out_channels = width if self.project is None else channels

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
        """Features of the input's size, in the compute dtype."""
        branches = [conv(x) for conv in self.convs]
        # Resizing one pixel is the same constant under either convention of `align_corners`.
        whole = jnp.broadcast_to(self.pool(image_mean(x)), branches[0].shape)
        branches.insert(0 if self.pool_first else len(branches), whole)
        y = jnp.concatenate(branches, axis=-1)
        if self.project is not None:
            y = self.project(y)
        return y if self.dropout is None else self.dropout(y)
