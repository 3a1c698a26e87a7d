"""FastSCNN (Poudel et al., 2019) as gluon-cv, the paper's authors' toolkit, has it (Tables 3 and 6).

mmsegmentation's differs in many places; `lineage="mmseg"` gives it, so that its published weights can be used.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones.resnet import scaled
from csst_jax.models.heads.aspp import SeparableConv
from csst_jax.models.heads.psp import BINS, pyramid
from csst_jax.models.layers import BatchNorm, Classifier, Conv, ConvBN, Dropout
from csst_jax.models.ops.resize import resize, resize_logits
from csst_jax.models.perturbation import Perturb, perturbed

if TYPE_CHECKING:
    from jax.typing import DTypeLike


@dataclasses.dataclass(frozen=True)
class Lineage:
    """Where the published implementations differ.

    Attributes:
      align_corners: of every resize.
      depthwise_relu: whether separable convolutions have a ReLU between their two halves.
      pyramid_kernel: size of the convolution after pyramid pooling.
      fusion_bias: whether fusion's 1x1 convolutions have biases before their batch normalisation.
      momentum: of the batch statistics.
      channel_dropout: whether dropout takes whole channels.
      aux: input stride and channels of each auxiliary head.
    """

    align_corners: bool
    depthwise_relu: bool
    pyramid_kernel: int
    fusion_bias: bool
    momentum: float
    channel_dropout: bool
    aux: tuple[tuple[int, int], ...]


LINEAGES = {
    "gluon": Lineage(True, True, 1, True, 0.1, False, ((8, 64),)),
    "mmseg": Lineage(False, False, 3, False, 0.01, True, ((32, 32), (8, 32))),
}


def _separable(
    in_channels: int, out_channels: int, *, rngs: nnx.Rngs, lineage: Lineage, stride: int = 1, dtype: DTypeLike
) -> SeparableConv:
    relu, momentum = lineage.depthwise_relu, lineage.momentum
    return SeparableConv(in_channels, out_channels, rngs=rngs, stride=stride, relu=relu, momentum=momentum, dtype=dtype)


class InvertedResidual(nnx.Module):
    """MobileNetV2's bottleneck with expansion 6 and a linear last layer; a shortcut where shapes allow."""

    def __init__(
        self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs, lineage: Lineage, stride: int, dtype: DTypeLike
    ):
        wide = 6 * in_channels
        shared: dict[str, Any] = {"rngs": rngs, "momentum": lineage.momentum, "dtype": dtype}
        self.expand = ConvBN(in_channels, wide, **shared)
        self.depthwise = ConvBN(wide, wide, 3, stride=stride, groups=wide, **shared)
        self.project = ConvBN(wide, out_channels, relu=False, **shared)
        self.shortcut = stride == 1 and in_channels == out_channels

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q o"]:
        """Features at the stride given at construction."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


class LearningToDownsample(nnx.Module):
    """Three stride-2 convolutions to 1/8 of the input's size."""

    def __init__(self, channels: tuple[int, int, int], *, rngs: nnx.Rngs, lineage: Lineage, dtype: DTypeLike):
        self.conv = ConvBN(3, channels[0], 3, rngs=rngs, stride=2, momentum=lineage.momentum, dtype=dtype)
        self.dsconv1 = _separable(channels[0], channels[1], rngs=rngs, lineage=lineage, stride=2, dtype=dtype)
        self.dsconv2 = _separable(channels[1], channels[2], rngs=rngs, lineage=lineage, stride=2, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q o"]:
        """Features at stride 8."""
        return self.dsconv2(self.dsconv1(self.conv(x)))


class PyramidPooling(nnx.Module):
    """Averages over 1, 2, 3 and 6 bins a side, a quarter of the channels each, concatenated to the input."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs, lineage: Lineage, dtype: DTypeLike):
        shared: dict[str, Any] = {"rngs": rngs, "momentum": lineage.momentum, "dtype": dtype}
        self.branches = nnx.List([ConvBN(channels, channels // 4, **shared) for _ in BINS])
        self.out = ConvBN(2 * channels, channels, lineage.pyramid_kernel, **shared)
        self.align_corners = lineage.align_corners

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Features of the input's size that know the whole image."""
        return self.out(jnp.concatenate([x, *pyramid(x, BINS, self.branches, self.align_corners)], axis=-1))


class FeatureFusion(nnx.Module):
    """Adds the up-sampled global features to those at stride 8."""

    def __init__(self, high: int, low: int, out: int, *, rngs: nnx.Rngs, lineage: Lineage, dtype: DTypeLike):
        momentum, bias = lineage.momentum, lineage.fusion_bias
        self.dwconv = ConvBN(low, low, 3, rngs=rngs, groups=low, momentum=momentum, dtype=dtype)
        self.conv_low = Conv(low, out, 1, rngs=rngs, bias=bias, dtype=dtype)
        self.bn_low = BatchNorm(out, rngs=rngs, momentum=momentum)
        self.conv_high = Conv(high, out, 1, rngs=rngs, bias=bias, dtype=dtype)
        self.bn_high = BatchNorm(out, rngs=rngs, momentum=momentum)
        self.align_corners = lineage.align_corners

    def __call__(self, high: Float[Array, "b h w c"], low: Float[Array, "b p q d"]) -> Float[Array, "b h w o"]:
        """`high` at stride 8, `low` at stride 32; the result is at stride 8."""
        low = self.dwconv(resize(low, (high.shape[1], high.shape[2]), self.align_corners))
        return jax.nn.relu(self.bn_high(self.conv_high(high)) + self.bn_low(self.conv_low(low)))


class AuxiliaryHead(nnx.Module):
    """3x3 convolution, dropout and classifier on features in the network's middle."""

    def __init__(
        self, in_channels: int, channels: int, num_classes: int, *, rngs: nnx.Rngs, lineage: Lineage, dtype: DTypeLike
    ):
        self.conv = ConvBN(in_channels, channels, 3, rngs=rngs, momentum=lineage.momentum, dtype=dtype)
        self.dropout = Dropout(0.1, rngs=rngs, channels=lineage.channel_dropout)
        self.classifier = Classifier(channels, num_classes, rngs=rngs, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w n"]:
        """Logits at the features' stride."""
        return self.classifier(self.dropout(self.conv(x)))


class FastSCNN(nnx.Module):
    """The whole network: learning to downsample, global features, fusion, classifier, and auxiliary heads."""

    def __init__(
        self,
        num_classes: int,
        *,
        rngs: nnx.Rngs,
        width: float = 1.0,
        depth: float = 1.0,
        aux: bool = True,
        lineage: str = "gluon",
        dtype: DTypeLike = jnp.float32,
    ):
        """FastSCNN: 1,138,051 parameters at 19 classes, 1,176,278 with the auxiliary head.

        Args:
          num_classes: classes C of the logits.
          rngs: where initial weights are drawn from.
          width: channel multiplier, for tests.
          depth: multiplier of the blocks in a stage, for tests.
          aux: whether there are auxiliary heads.
          lineage: a key of `LINEAGES`.
          dtype: compute dtype.
        """
        c = functools.partial(scaled, width=width)
        line = LINEAGES[lineage]
        shared: dict[str, Any] = {"rngs": rngs, "lineage": line, "dtype": dtype}
        self.learning_to_downsample = LearningToDownsample((c(32), c(48), c(64)), **shared)
        blocks, inside = [], c(64)
        for out, stride in ((c(64), 2), (c(96), 2), (c(128), 1)):
            for i in range(max(1, round(3 * depth))):
                blocks.append(InvertedResidual(inside, out, stride=stride if i == 0 else 1, **shared))
                inside = out
        self.global_feature_extractor = nnx.List(blocks)
        self.ppm = PyramidPooling(c(128), **shared)
        self.feature_fusion = FeatureFusion(c(64), c(128), c(128), **shared)
        self.dsconv1 = _separable(c(128), c(128), **shared)
        self.dsconv2 = _separable(c(128), c(128), **shared)
        self.dropout = Dropout(0.1, rngs=rngs, channels=line.channel_dropout)
        self.classifier = Classifier(c(128), num_classes, rngs=rngs, dtype=dtype)
        inputs = {8: c(64), 32: c(128)}
        heads = line.aux if aux else ()
        self.aux_heads = nnx.List([AuxiliaryHead(inputs[s], c(n), num_classes, **shared) for s, n in heads])
        self.aux_strides = tuple(stride for stride, _ in heads)
        self.align_corners = line.align_corners
        self.deterministic = False

    def __call__(self, images: Float[Array, "b h w 3"], perturb: Perturb | None = None) -> dict[str, Any]:
        """Logits (float32) at the input's size; the auxiliary heads' too, in training mode only.

        `features` holds "stride8" (learning to downsample), "stride32" (global features) and "fused" (stride 8).
        """
        size = (images.shape[1], images.shape[2])
        high = self.learning_to_downsample(images)
        low = high
        for block in self.global_feature_extractor:
            low = block(low)
        encoded = perturbed({"stride8": high, "stride32": self.ppm(low)}, perturb)
        high, low = encoded["stride8"], encoded["stride32"]
        fused = self.feature_fusion(high, low)
        features = {"stride8": high, "stride32": low, "fused": fused}
        y = self.classifier(self.dropout(self.dsconv2(self.dsconv1(fused))))
        aux = {}
        if not self.deterministic:  # the auxiliary heads exist to help training alone
            for stride, head in zip(self.aux_strides, self.aux_heads, strict=True):
                aux[f"stride{stride}"] = head(features[f"stride{stride}"])
        # Together: backward, every head's logits are then done with before the network's gradient begins. They are by
        # far the largest arrays, and a TPU would store those of a head in the middle until that is reached.
        y, aux = jax.lax.optimization_barrier((y, aux))
        logits, aux = jax.tree.map(lambda z: resize_logits(z, size, self.align_corners), (y, aux))
        return {"logits": logits, "aux": aux, "features": features}


build = FastSCNN
