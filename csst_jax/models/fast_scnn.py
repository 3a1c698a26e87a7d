"""FastSCNN (Poudel et al., 2019) as gluon-cv, the paper's authors' toolkit, has it (Tables 3 and 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.layers import BatchNorm, Classifier, Conv, ConvBN, Dropout, adaptive_average_pool
from csst_jax.models.resize import resize

if TYPE_CHECKING:
    from jax.typing import DTypeLike

_PYRAMID_BINS = (1, 2, 3, 6)


class SeparableConv(nnx.Module):
    """Depthwise 3x3 and pointwise 1x1 convolution, each with batch normalisation and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs, stride: int = 1, dtype: DTypeLike):
        self.depthwise = ConvBN(in_channels, in_channels, 3, rngs=rngs, stride=stride, groups=in_channels, dtype=dtype)
        self.pointwise = ConvBN(in_channels, out_channels, rngs=rngs, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q o"]:
        """Features at the stride given at construction."""
        return self.pointwise(self.depthwise(x))


class InvertedResidual(nnx.Module):
    """MobileNetV2's bottleneck with expansion 6 and a linear last layer; a shortcut where shapes allow."""

    def __init__(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs, stride: int, dtype: DTypeLike):
        wide = 6 * in_channels
        self.expand = ConvBN(in_channels, wide, rngs=rngs, dtype=dtype)
        self.depthwise = ConvBN(wide, wide, 3, rngs=rngs, stride=stride, groups=wide, dtype=dtype)
        self.project = ConvBN(wide, out_channels, rngs=rngs, relu=False, dtype=dtype)
        self.shortcut = stride == 1 and in_channels == out_channels

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q o"]:
        """Features at the stride given at construction."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


class LearningToDownsample(nnx.Module):
    """Three stride-2 convolutions to 1/8 of the input's size."""

    def __init__(self, channels: tuple[int, int, int], *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.conv = ConvBN(3, channels[0], 3, rngs=rngs, stride=2, dtype=dtype)
        self.dsconv1 = SeparableConv(channels[0], channels[1], rngs=rngs, stride=2, dtype=dtype)
        self.dsconv2 = SeparableConv(channels[1], channels[2], rngs=rngs, stride=2, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q o"]:
        """Features at stride 8."""
        return self.dsconv2(self.dsconv1(self.conv(x)))


class PyramidPooling(nnx.Module):
    """Averages over 1, 2, 3 and 6 bins a side, a quarter of the channels each, concatenated to the input."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.branches = nnx.List([ConvBN(channels, channels // 4, rngs=rngs, dtype=dtype) for _ in _PYRAMID_BINS])
        self.out = ConvBN(2 * channels, channels, rngs=rngs, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Features of the input's size that know the whole image."""
        size = (x.shape[1], x.shape[2])
        pooled = [
            resize(branch(adaptive_average_pool(x, bins)), size, align_corners=True)
            for bins, branch in zip(_PYRAMID_BINS, self.branches, strict=True)
        ]
        return self.out(jnp.concatenate([x, *pooled], axis=-1))


class FeatureFusion(nnx.Module):
    """Adds the up-sampled global features to those at stride 8; its 1x1 convolutions have biases before the BN."""

    def __init__(self, high: int, low: int, out: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.dwconv = ConvBN(low, low, 3, rngs=rngs, groups=low, dtype=dtype)
        self.conv_low = Conv(low, out, 1, rngs=rngs, bias=True, dtype=dtype)
        self.bn_low = BatchNorm(out, rngs=rngs)
        self.conv_high = Conv(high, out, 1, rngs=rngs, bias=True, dtype=dtype)
        self.bn_high = BatchNorm(out, rngs=rngs)

    def __call__(self, high: Float[Array, "b h w c"], low: Float[Array, "b p q d"]) -> Float[Array, "b h w o"]:
        """`high` at stride 8, `low` at stride 32; the result is at stride 8."""
        low = self.dwconv(resize(low, (high.shape[1], high.shape[2]), align_corners=True))
        return jax.nn.relu(self.bn_high(self.conv_high(high)) + self.bn_low(self.conv_low(low)))


class FastSCNN(nnx.Module):
    """The whole network: learning to downsample, global features, fusion, classifier, and one auxiliary head."""

    def __init__(
        self, num_classes: int, *, rngs: nnx.Rngs, width: float = 1.0, aux: bool = True, dtype: DTypeLike = jnp.float32
    ):
        def c(channels: int) -> int:
            return max(8, round(channels * width / 8) * 8)

        self.learning_to_downsample = LearningToDownsample((c(32), c(48), c(64)), rngs=rngs, dtype=dtype)
        blocks, inside = [], c(64)
        for out, stride in ((c(64), 2), (c(96), 2), (c(128), 1)):
            for i in range(3):
                blocks.append(InvertedResidual(inside, out, rngs=rngs, stride=stride if i == 0 else 1, dtype=dtype))
                inside = out
        self.global_feature_extractor = nnx.List(blocks)
        self.ppm = PyramidPooling(c(128), rngs=rngs, dtype=dtype)
        self.feature_fusion = FeatureFusion(c(64), c(128), c(128), rngs=rngs, dtype=dtype)
        self.dsconv1 = SeparableConv(c(128), c(128), rngs=rngs, dtype=dtype)
        self.dsconv2 = SeparableConv(c(128), c(128), rngs=rngs, dtype=dtype)
        self.dropout = Dropout(0.1, rngs=rngs)
        self.classifier = Classifier(c(128), num_classes, rngs=rngs, dtype=dtype)
        self.aux_head = ConvBN(c(64), c(64), 3, rngs=rngs, dtype=dtype) if aux else None
        self.aux_dropout = Dropout(0.1, rngs=rngs) if aux else None
        self.aux_classifier = Classifier(c(64), num_classes, rngs=rngs, dtype=dtype) if aux else None
        self.aux_active = aux

    def __call__(self, images: Float[Array, "b h w 3"]) -> dict[str, Any]:
        """Logits (float32) at the input's size; the auxiliary head's too, in training mode only.

        `features` holds "stride8" (learning to downsample), "stride32" (global features) and "fused" (stride 8).
        """
        size = (images.shape[1], images.shape[2])
        high = self.learning_to_downsample(images)
        low = high
        for block in self.global_feature_extractor:
            low = block(low)
        low = self.ppm(low)
        fused = self.feature_fusion(high, low)
        y = self.classifier(self.dropout(self.dsconv2(self.dsconv1(fused))))
        out: dict[str, Any] = {
            "logits": resize(y.astype(jnp.float32), size, align_corners=True),
            "aux": {},
            "features": {"stride8": high, "stride32": low, "fused": fused},
        }
        # `dropout.deterministic` is how NNX marks evaluation mode; the auxiliary head only exists to help training.
        if self.aux_head is not None and not self.dropout.dropout.deterministic:
            assert self.aux_dropout is not None and self.aux_classifier is not None
            z = self.aux_classifier(self.aux_dropout(self.aux_head(high)))
            out["aux"]["stride8"] = resize(z.astype(jnp.float32), size, align_corners=True)
        return out


def build(num_classes: int, *, rngs: nnx.Rngs, **options: Any) -> FastSCNN:
    """FastSCNN: 1,138,051 parameters at 19 classes, 1,176,278 with the auxiliary head.

    Args:
      num_classes: classes C of the logits.
      rngs: where initial weights are drawn from.
      **options: `width` (channel multiplier, for tests), `aux` (auxiliary head), `dtype` (compute dtype).
    """
    return FastSCNN(num_classes, rngs=rngs, **options)
