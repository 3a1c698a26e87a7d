"""WideResNet38 ("A2": Wu et al., arXiv:1611.10080), dilated, as VPLR's DeepLabV3+ has it (NVIDIA, branch sdcnet).

Blocks have batch normalisation and ReLU before each convolution; the first two reductions are maximum poolings, the
others strides. The classifier's last normalisation (`bn_out`) is left out: VPLR's decoder takes the last sum as it is.
Names follow `network/wider_resnet.py`, without the words that only group layers: `mod2.block1.convs.conv1` is
`mod2.0.conv1` here, and `bn1.0` is `bn1`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones.resnet import scaled
from csst_jax.models.layers import BatchNorm, Conv, Dropout
from csst_jax.models.ops.pooling import max_pool
from csst_jax.models.rematerialisation import may_rematerialise
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from jax.typing import DTypeLike

_BLOCKS = (3, 3, 6, 3, 1, 1)
_CHANNELS = ((128, 128), (256, 256), (512, 512), (512, 1024), (512, 1024, 2048), (1024, 2048, 4096))
_STRIDES = (1, 1, 2, 2, 2, 1)  # mod2 and mod3 follow a pooling instead
_DROPOUT = (0.0, 0.0, 0.0, 0.0, 0.3, 0.5)


class Block(nnx.Module):
    """Pre-activation residual block: two 3x3 convolutions, or 1x1, 3x3 and 1x1 where three channel counts are given.

    Where shapes differ, the shortcut is a projection of the *activated* input.
    """

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, ...],
        *,
        rngs: nnx.Rngs,
        stride: int,
        dilation: int,
        dropout: float,
        dtype: DTypeLike,
    ):
        self.bn1 = BatchNorm(in_channels, rngs=rngs)
        self.bn2 = BatchNorm(channels[0], rngs=rngs)

        def three(inside: int, out: int, stride: int = 1) -> Conv:
            return Conv(inside, out, 3, rngs=rngs, stride=stride, padding=dilation, dilation=dilation, dtype=dtype)

        bottleneck = len(channels) == 3
        self.conv1 = (
            Conv(in_channels, channels[0], 1, rngs=rngs, stride=stride, dtype=dtype)
            if bottleneck
            else three(in_channels, channels[0], stride)
        )
        self.conv2 = three(channels[0], channels[1])
        self.bn3 = BatchNorm(channels[1], rngs=rngs) if bottleneck else None
        self.conv3 = Conv(channels[1], channels[-1], 1, rngs=rngs, dtype=dtype) if bottleneck else None
        self.dropout = Dropout(dropout, rngs=rngs, channels=True) if dropout else None
        self.proj_conv = (
            Conv(in_channels, channels[-1], 1, rngs=rngs, stride=stride, dtype=dtype)
            if stride != 1 or in_channels != channels[-1]
            else None
        )
        self.remat = False

    @may_rematerialise
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q o"]:
        """Features at the stride given at construction."""
        y = self.bn1(x, relu=True)
        shortcut = x if self.proj_conv is None else self.proj_conv(y)
        y, last = self.bn2(self.conv1(y), relu=True), self.conv2
        if self.bn3 is not None and self.conv3 is not None:
            y, last = self.bn3(self.conv2(y), relu=True), self.conv3
        if self.dropout is not None:
            y = self.dropout(y)
        return last(y) + shortcut


class WideResNet38(nnx.Module):
    """One convolution and six modules of blocks."""

    def __init__(
        self,
        *,
        rngs: nnx.Rngs,
        output_stride: int = 8,
        width: float = 1.0,
        depth: float = 1.0,
        dtype: DTypeLike = jnp.float32,
    ):
        """Builds the trunk of the ImageNet classifier.

        Args:
          rngs: where initial weights are drawn from.
          output_stride: 8 (VPLR), 16 or 32; modules beyond it have dilation, in all blocks, for strides.
          width: channel multiplier, for tests.
          depth: multiplier of the blocks in a module, for tests.
          dtype: compute dtype.

        Raises:
          CsstError: another output stride.
        """
        if output_stride not in (8, 16, 32):
            raise CsstError(f"output_stride={output_stride}; give 8, 16 or 32 for a WideResNet38.")
        self.mod1 = Conv(3, scaled(64, width), 3, rngs=rngs, padding=1, dtype=dtype)
        inside, reached, dilation = scaled(64, width), 4, 1
        modules = []
        for count, full, stride, dropout in zip(_BLOCKS, _CHANNELS, _STRIDES, _DROPOUT, strict=True):
            channels = tuple(scaled(c, width) for c in full)
            if reached * stride > output_stride:
                stride, dilation = 1, dilation * stride
            reached *= stride
            blocks = []
            for i in range(max(1, round(count * depth))):
                first = stride if i == 0 else 1
                blocks.append(
                    Block(inside, channels, rngs=rngs, stride=first, dilation=dilation, dropout=dropout, dtype=dtype)
                )
                inside = channels[-1]
            modules.append(nnx.List(blocks))
        self.mod2, self.mod3, self.mod4, self.mod5, self.mod6, self.mod7 = modules
        self.channels = {f"mod{i}": scaled(c[-1], width) for i, c in enumerate(((64,), *_CHANNELS), 1)}

    def __call__(self, x: Float[Array, "b h w 3"]) -> dict[str, Float[Array, "b _ _ _"]]:
        """Features by name, before the next module's normalisation.

        "mod1" (stride 1), "mod2" (2), "mod3" (4), "mod4" (8), "mod5" to "mod7" (at most the output stride).
        """
        x = self.mod1(x)
        features = {"mod1": x}
        for number in range(2, 8):
            if number <= 3:
                x = max_pool(x, 3, 2, 1)
            for block in getattr(self, f"mod{number}"):
                x = block(x)
            features[f"mod{number}"] = x
        return features
