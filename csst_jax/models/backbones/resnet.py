"""ResNet and its relatives: ResNeXt and SE-ResNeXt, dilated, with the stems and strides of the lineages in use.

Names follow torchvision (`layer1.0.conv1`). What differs between published segmentation networks is an option here:
the stem, where a bottleneck strides, how the first block of a dilated stage is dilated, and how the stem pools.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.layers import BatchNorm, Conv
from csst_jax.models.ops.pooling import image_mean, max_pool
from csst_jax.models.rematerialisation import may_rematerialise
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from jax.typing import DTypeLike


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What distinguishes the members of the family.

    Attributes:
      blocks: residual blocks in each of the four stages.
      bottleneck: three convolutions a block (1x1, 3x3, 1x1) instead of two 3x3.
      groups: of the 3x3 convolution (ResNeXt's cardinality).
      base_width: channels a group at 64 planes.
      squeeze: whether blocks end in squeeze-and-excitation (reduction 16).
    """

    blocks: tuple[int, int, int, int]
    bottleneck: bool = True
    groups: int = 1
    base_width: int = 64
    squeeze: bool = False


ARCHITECTURES = {
    "resnet18": Architecture((2, 2, 2, 2), bottleneck=False),
    "resnet50": Architecture((3, 4, 6, 3)),
    "resnet101": Architecture((3, 4, 23, 3)),
    "resnext50_32x4d": Architecture((3, 4, 6, 3), groups=32, base_width=4),
    "se_resnext50_32x4d": Architecture((3, 4, 6, 3), groups=32, base_width=4, squeeze=True),
}

STEMS = {"7x7": None, "deep": (64, 64, 128), "deep32": (32, 32, 64)}
"""One 7x7 convolution (torchvision), or three 3x3 ones with these channels (semseg and gluon-cv; mmsegmentation)."""


class SqueezeExcitation(nnx.Module):
    """Channel weights from the image's mean (Hu et al.), with biases, as in Cadene's SE-ResNeXt."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.fc1 = Conv(channels, channels // 16, 1, rngs=rngs, bias=True, dtype=dtype)
        self.fc2 = Conv(channels // 16, channels, 1, rngs=rngs, bias=True, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The input with its channels weighted."""
        return x * jax.nn.sigmoid(self.fc2(jax.nn.relu(self.fc1(image_mean(x)))))


class Block(nnx.Module):
    """A residual block; `downsample` projects the shortcut where shapes differ."""

    def __init__(
        self,
        in_channels: int,
        planes: int,
        architecture: Architecture,
        *,
        rngs: nnx.Rngs,
        stride: int,
        dilation: int,
        stride_in_1x1: bool,
        dtype: DTypeLike,
    ):
        a = architecture
        out = planes * expansion(a)
        if a.bottleneck:
            wide = max(1, planes * a.base_width // 64) * a.groups
            first, second = (stride, 1) if stride_in_1x1 else (1, stride)
            self.conv1 = Conv(in_channels, wide, 1, rngs=rngs, stride=first, dtype=dtype)
            self.bn1 = BatchNorm(wide, rngs=rngs)
            self.conv2 = Conv(
                wide,
                wide,
                3,
                rngs=rngs,
                stride=second,
                padding=dilation,
                dilation=dilation,
                groups=a.groups,
                dtype=dtype,
            )
            self.bn2 = BatchNorm(wide, rngs=rngs)
            self.conv3 = Conv(wide, out, 1, rngs=rngs, dtype=dtype)
            self.bn3 = BatchNorm(out, rngs=rngs)
        else:
            self.conv1 = Conv(
                in_channels, out, 3, rngs=rngs, stride=stride, padding=dilation, dilation=dilation, dtype=dtype
            )
            self.bn1 = BatchNorm(out, rngs=rngs)
            self.conv2 = Conv(out, out, 3, rngs=rngs, padding=dilation, dilation=dilation, dtype=dtype)
            self.bn2 = BatchNorm(out, rngs=rngs)
        self.bottleneck = a.bottleneck
        self.remat = False
        self.se_module = SqueezeExcitation(out, rngs=rngs, dtype=dtype) if a.squeeze else None
        self.downsample = (
            nnx.List(
                [Conv(in_channels, out, 1, rngs=rngs, stride=stride, dtype=dtype), BatchNorm(out, rngs=rngs)],
            )
            if stride != 1 or in_channels != out
            else None
        )

    @may_rematerialise
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q o"]:
        """Features at the stride given at construction."""
        y = self.bn1(self.conv1(x), relu=True)
        y = self.bn2(self.conv2(y), relu=self.bottleneck)
        if self.bottleneck:
            y = self.bn3(self.conv3(y))
        if self.se_module is not None:
            y = self.se_module(y)
        if self.downsample is not None:
            projection, norm = self.downsample
            x = norm(projection(x))
        return jax.nn.relu(x + y)


class ResNet(nnx.Module):
    """Stem and four stages."""

    def __init__(
        self,
        name: str,
        *,
        rngs: nnx.Rngs,
        stem: str = "7x7",
        output_stride: int = 32,
        dilate_first_block: bool = True,
        stride_in_1x1: bool = False,
        pool_padding: int = 1,
        pool_ceil: bool = False,
        width: float = 1.0,
        depth: float = 1.0,
        dtype: DTypeLike = jnp.float32,
    ):
        """Builds the trunk of an ImageNet classifier.

        Args:
          name: a key of `ARCHITECTURES`.
          rngs: where initial weights are drawn from.
          stem: a key of `STEMS`.
          output_stride: 8, 16 or 32; stages beyond it are dilated instead of strided.
          dilate_first_block: whether the first block of a dilated stage has the stage's dilation (semseg, VPLR) or the
            half of it (PyTorch-Encoding, gluon-cv, mmsegmentation, torchvision).
          stride_in_1x1: whether a bottleneck strides in its first convolution (Caffe) or in the 3x3 one (torchvision).
          pool_padding: of the stem's maximum pooling; 0 in Cadene's SE networks.
          pool_ceil: its `ceil_mode`; true in Cadene's SE networks and the DeepLabV2 family.
          width: channel multiplier, for tests.
          depth: multiplier of the blocks in a stage, for tests.
          dtype: compute dtype.

        Raises:
          CsstError: another output stride.
        """
        if output_stride not in (8, 16, 32):
            raise CsstError(f"output_stride={output_stride}; give 8, 16 or 32 for a ResNet.")
        a = ARCHITECTURES[name]
        widths = tuple(scaled(channels, width) for channels in (64, 128, 256, 512))
        deep = STEMS[stem]
        stem_channels = (widths[0],) if deep is None else tuple(scaled(channels, width) for channels in deep)
        if deep is None:
            self.conv1 = Conv(3, stem_channels[0], 7, rngs=rngs, stride=2, padding=3, dtype=dtype)
            self.bn1 = BatchNorm(stem_channels[0], rngs=rngs)
        else:
            one, two, three = stem_channels
            self.conv1 = Conv(3, one, 3, rngs=rngs, stride=2, padding=1, dtype=dtype)
            self.bn1 = BatchNorm(one, rngs=rngs)
            self.conv2 = Conv(one, two, 3, rngs=rngs, padding=1, dtype=dtype)
            self.bn2 = BatchNorm(two, rngs=rngs)
            self.conv3 = Conv(two, three, 3, rngs=rngs, padding=1, dtype=dtype)
            self.bn3 = BatchNorm(three, rngs=rngs)
        self.deep = deep is not None
        self.pool = (pool_padding, pool_ceil)
        inside, reached, dilation = stem_channels[-1], 4, 1
        stages = []
        for planes, count, stride in zip(widths, a.blocks, (1, 2, 2, 2), strict=True):
            first_dilation = dilation
            if reached * stride > output_stride:
                stride, dilation = 1, dilation * stride
                if dilate_first_block:
                    first_dilation = dilation
            reached *= stride
            blocks = []
            for i in range(max(1, round(count * depth))):
                first = {"stride": stride, "dilation": first_dilation}
                shape = first if i == 0 else {"stride": 1, "dilation": dilation}
                blocks.append(Block(inside, planes, a, rngs=rngs, stride_in_1x1=stride_in_1x1, dtype=dtype, **shape))
                inside = planes * expansion(a)
            stages.append(nnx.List(blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.channels = {f"layer{i + 1}": planes * expansion(a) for i, planes in enumerate(widths)}
        self.channels["stem"] = stem_channels[-1]

    def __call__(self, x: Float[Array, "b h w 3"]) -> dict[str, Float[Array, "b _ _ _"]]:
        """Features by name: "stem" (before pooling, stride 2), "layer1" (stride 4) to "layer4" (the output stride)."""
        x = self.stem(x)
        features = {"stem": x}
        padding, ceil_mode = self.pool
        x = max_pool(x, 3, 2, padding, ceil_mode)
        for name in ("layer1", "layer2", "layer3", "layer4"):
            for block in getattr(self, name):
                x = block(x)
            features[name] = x
        return features

    def stem(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b p q c"]:
        """The features before pooling, at stride 2."""
        x = self.bn1(self.conv1(x), relu=True)
        if self.deep:
            x = self.bn2(self.conv2(x), relu=True)
            x = self.bn3(self.conv3(x), relu=True)
        return x


def expansion(architecture: Architecture) -> int:
    """Output channels of a block over its planes."""
    return 4 if architecture.bottleneck else 1


def scaled(channels: int, width: float) -> int:
    """Channels under a multiplier, a multiple of 8 and at least 8; unchanged at 1.0."""
    return channels if width == 1.0 else max(8, round(channels * width / 8) * 8)
