"""BiSeNet (Yu et al., 2018, arXiv:1808.00897), which the paper trains as TorchSeg has it (Tables 3 and 6)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones.resnet import ARCHITECTURES, ResNet, scaled
from csst_jax.models.layers import Classifier, Conv, ConvBN, Dropout
from csst_jax.models.ops.pooling import image_mean
from csst_jax.models.ops.resize import resize, resize_logits
from csst_jax.models.perturbation import Perturb, perturbed

if TYPE_CHECKING:
    from jax.typing import DTypeLike


@dataclasses.dataclass(frozen=True)
class Lineage:
    """Where published implementations differ.

    Attributes:
      align_corners: convention of bilinear resizing.
      nearest: whether the context path enlarges its features by repeating pixels instead of bilinearly.
      normalised_attention: whether the fusion's channel attention is one convolution with batch normalisation and ReLU
        (before its sigmoid), or two bare ones with a ReLU between them (the paper's figure).
      head_channels: of the head's 3x3 convolution.
      aux_channels: of the auxiliary heads' 3x3 convolutions.
      dropout: rate at which whole channels are dropped before a classifier.
      bottleneck_stem: stem of a trunk of bottlenecks (ResNet50 and deeper); ResNet18's is always one 7x7 convolution.
      bottleneck_width: what multiplies the channels of both paths and of the auxiliary heads with such a trunk; the
        head's are multiplied by 4 in all lineages.
    """

    align_corners: bool
    nearest: bool
    normalised_attention: bool
    head_channels: int
    aux_channels: int
    dropout: float
    bottleneck_stem: str
    bottleneck_width: int


LINEAGES = {
    "torchseg": Lineage(
        align_corners=True,
        nearest=False,
        normalised_attention=False,
        head_channels=64,
        aux_channels=256,
        dropout=0.0,
        bottleneck_stem="deep",
        bottleneck_width=1,
    ),
    "mmseg": Lineage(
        align_corners=False,
        nearest=True,
        normalised_attention=True,
        head_channels=256,
        aux_channels=64,
        dropout=0.1,
        bottleneck_stem="7x7",
        bottleneck_width=4,
    ),
}


def _repeat_pixels(x: Float[Array, "b h w c"], size: tuple[int, int]) -> Float[Array, "b p q c"]:
    """Nearest-neighbour resizing to 2n or 2n - 1 pixels a side, which is what lies above a convolution of stride 2.

    For these sizes PyTorch's position floor(i * old / new) is i // 2; repeating needs no gather (nor its gradient a
    scatter).
    """
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)[:, : size[0], : size[1]]


class SpatialPath(nnx.Module):
    """Three stride-2 convolutions and a 1x1 one: detail at stride 8."""

    def __init__(self, inner: int, out_channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.conv_7x7 = ConvBN(3, inner, 7, rngs=rngs, stride=2, dtype=dtype)
        self.conv_3x3_1 = ConvBN(inner, inner, 3, rngs=rngs, stride=2, dtype=dtype)
        self.conv_3x3_2 = ConvBN(inner, inner, 3, rngs=rngs, stride=2, dtype=dtype)
        self.conv_1x1 = ConvBN(inner, out_channels, rngs=rngs, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b p q o"]:
        """Features at stride 8."""
        return self.conv_1x1(self.conv_3x3_2(self.conv_3x3_1(self.conv_7x7(x))))


class AttentionRefinement(nnx.Module):
    """A 3x3 convolution whose channels are weighted by a sigmoid of their means."""

    def __init__(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.conv_3x3 = ConvBN(in_channels, out_channels, 3, rngs=rngs, dtype=dtype)
        self.channel_attention = ConvBN(out_channels, out_channels, rngs=rngs, relu=False, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
        """Refined features of the input's size."""
        x = self.conv_3x3(x)
        return x * jax.nn.sigmoid(self.channel_attention(image_mean(x)))


class FeatureFusion(nnx.Module):
    """Joins both paths and adds the result to itself, weighted by channel attention (without a reduction)."""

    def __init__(self, in_channels: int, out_channels: int, normalised: bool, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.conv_1x1 = ConvBN(in_channels, out_channels, rngs=rngs, dtype=dtype)
        self.channel_attention = nnx.List(
            [ConvBN(out_channels, out_channels, rngs=rngs, dtype=dtype)]
            if normalised
            else [Conv(out_channels, out_channels, 1, rngs=rngs, dtype=dtype) for _ in range(2)]
        )

    def __call__(self, spatial: Float[Array, "b h w c"], context: Float[Array, "b h w d"]) -> Float[Array, "b h w o"]:
        """Both inputs and the result are at stride 8."""
        x = self.conv_1x1(jnp.concatenate([spatial, context], axis=-1))
        weight = self.channel_attention[0](image_mean(x))
        for conv in self.channel_attention[1:]:
            weight = conv(jax.nn.relu(weight))
        return x + x * jax.nn.sigmoid(weight)


class Head(nnx.Module):
    """A 3x3 convolution, dropout of channels in some lineages, and the classifier."""

    def __init__(
        self, in_channels: int, channels: int, num_classes: int, dropout: float, *, rngs: nnx.Rngs, dtype: DTypeLike
    ):
        self.conv_3x3 = ConvBN(in_channels, channels, 3, rngs=rngs, dtype=dtype)
        self.dropout = Dropout(dropout, rngs=rngs, channels=True) if dropout else None
        self.conv_1x1 = Classifier(channels, num_classes, rngs=rngs, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w k"]:
        """Logits of the input's size, in the compute dtype."""
        x = self.conv_3x3(x)
        return self.conv_1x1(x if self.dropout is None else self.dropout(x))


class BiSeNet(nnx.Module):
    """Spatial path, context path, their fusion, and the heads.

    Attributes:
      aux_weights: of the auxiliary heads' losses, as TorchSeg, mmsegmentation and BiSeNet's paper have them.
    """

    aux_weights = (("stride8", 1.0), ("stride16", 1.0))

    def __init__(
        self,
        num_classes: int,
        *,
        rngs: nnx.Rngs,
        backbone: str = "resnet18",
        lineage: str = "torchseg",
        width: float = 1.0,
        depth: float = 1.0,
        aux: bool = True,
        dtype: DTypeLike = jnp.float32,
    ):
        """BiSeNet on ResNet18: 12,894,163 parameters at 19 classes, 13,494,777 with its two auxiliary heads.

        TorchSeg mines hard pixels for all three losses.

        Options: `lineage` ("torchseg": ycszen/TorchSeg `cityscapes.bisenet.R18`, and `.R101` with bottlenecks; "mmseg":
        mmsegmentation `bisenetv1_r18-d32`, and `bisenetv1_r50-d32` with bottlenecks), `backbone` (a key of
        `resnet.ARCHITECTURES`), `width` and `depth` (multipliers, for tests), `aux` (auxiliary heads), `dtype` (compute
        dtype).
        """
        own = LINEAGES[lineage]
        bottleneck = ARCHITECTURES[backbone].bottleneck

        def c(channels: int, wider: int = own.bottleneck_width) -> int:
            return scaled(channels * wider if bottleneck else channels, width)

        stem = own.bottleneck_stem if bottleneck else "7x7"
        self.context_path = ResNet(backbone, rngs=rngs, stem=stem, width=width, depth=depth, dtype=dtype)
        inside = self.context_path.channels
        self.spatial_path = SpatialPath(c(64), c(128), rngs=rngs, dtype=dtype)
        self.global_context = ConvBN(inside["layer4"], c(128), rngs=rngs, dtype=dtype)
        self.arms = nnx.List(
            [AttentionRefinement(inside[name], c(128), rngs=rngs, dtype=dtype) for name in ("layer4", "layer3")]
        )
        self.refines = nnx.List([ConvBN(c(128), c(128), 3, rngs=rngs, dtype=dtype) for _ in range(2)])
        self.ffm = FeatureFusion(2 * c(128), c(256), own.normalised_attention, rngs=rngs, dtype=dtype)
        self.head = Head(c(256), c(own.head_channels, 4), num_classes, own.dropout, rngs=rngs, dtype=dtype)
        aux_channels = c(own.aux_channels)
        self.aux_heads = nnx.List(
            [
                Head(c(128), aux_channels, num_classes, own.dropout, rngs=rngs, dtype=dtype)
                for _ in range(2 if aux else 0)
            ]
        )
        self.align_corners, self.nearest = own.align_corners, own.nearest
        self.deterministic = False

    def __call__(self, images: Float[Array, "b h w 3"], perturb: Perturb | None = None) -> dict[str, Any]:
        """Logits (float32) at the input's size; the auxiliary heads', "stride16" and "stride8", in training mode only.

        `features` holds "spatial" (the spatial path, stride 8), "stride32" (the trunk's end), "stride16" and "stride8"
        (the context path on its way up) and "fused" (stride 8).
        """
        size = (images.shape[1], images.shape[2])
        trunk = perturbed(self.context_path(images), perturb)
        stride32 = trunk["layer4"]
        # One pixel resized is the same constant under any convention: adding it broadcasts.
        stride16 = self.arms[0](stride32) + self.global_context(image_mean(stride32))
        stride16 = self.refines[0](self._enlarge(stride16, trunk["layer3"]))
        stride8 = self.arms[1](trunk["layer3"]) + stride16
        stride8 = self.refines[1](self._enlarge(stride8, trunk["layer2"]))
        spatial = perturbed({"spatial": self.spatial_path(images)}, perturb)["spatial"]
        fused = self.ffm(spatial, stride8)

        def logits(head: Head, x: Array) -> Array:
            return resize_logits(head(x), size, self.align_corners)

        out: dict[str, Any] = {
            "logits": logits(self.head, fused),
            "aux": {},
            "features": {
                "spatial": spatial,
                "stride32": stride32,
                "stride16": stride16,
                "stride8": stride8,
                "fused": fused,
            },
        }
        if not self.deterministic:
            named = zip(("stride16", "stride8"), self.aux_heads, strict=False)
            out["aux"] = {name: logits(head, out["features"][name]) for name, head in named}
        return out

    def _enlarge(self, x: Float[Array, "b h w c"], like: Float[Array, "b p q d"]) -> Float[Array, "b p q c"]:
        size = (like.shape[1], like.shape[2])
        return _repeat_pixels(x, size) if self.nearest else resize(x, size, self.align_corners)


build = BiSeNet
