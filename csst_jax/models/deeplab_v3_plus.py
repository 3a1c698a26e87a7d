"""DeepLabV3+ (Chen et al., arXiv:1802.02611) as VPLR, mmsegmentation and smp have it.

The paper's teacher and student are VPLR's (NVIDIA/semantic-segmentation, branch sdcnet, `network/deepv3.py`) on
ResNeXt50, SE-ResNeXt50 or WideResNet38. One difference runs deep: VPLR's 1x1 convolutions on the low-level features and
after the pyramid are bare, without normalisation, and its classifier has no bias.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones.efficientnet_lite import EfficientNetLite, EfficientNetLite0
from csst_jax.models.backbones.resnet import ARCHITECTURES, ResNet, scaled
from csst_jax.models.backbones.wide_resnet import WideResNet38
from csst_jax.models.heads.aspp import ASPP, SeparableConv
from csst_jax.models.heads.fcn import FCNHead
from csst_jax.models.layers import Conv, ConvBN, Dropout
from csst_jax.models.ops.resize import resize, resize_logits
from csst_jax.models.perturbation import Perturb, perturbed
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from jax.typing import DTypeLike

_RESNETS = ("resnet18", "resnet50", "resnet101", "resnext50_32x4d", "se_resnext50_32x4d")

_Backbone = ResNet | WideResNet38 | EfficientNetLite


@dataclasses.dataclass(frozen=True)
class Lineage:
    """Where the published implementations differ.

    Attributes:
      backbones: those that the implementation has.
      stem: of a plain ResNet.
      output_stride: by default.
      dilate_first_block: see `ResNet`.
      dilate_first_of_efficientnet: the same of EfficientNet-Lite0; smp leaves that one's dilation to timm.
      dilate_basic_once: whether a block of two 3x3 convolutions (ResNet18) dilates only the first of them.
      align_corners: of each up-sampling.
      scale_rates: whether the pyramid's rates halve at output stride 16, or stay 12, 24, 36.
      channels: of the pyramid's branches and of the decoder.
      low_channels: of the projected low-level features.
      basic_divisor: what these and the auxiliary head's channels are divided by on ResNet18.
      separable: kind of the separable convolutions (see `heads.aspp`), or None for dense ones.
      pool_first: see `ASPP`.
      project_kernel: see `ASPP`.
      pyramid_dropout: rate of the dropout of elements after the pyramid.
      bare: whether the low-level projection has neither normalisation nor ReLU.
      after_pyramid: what follows the pyramid: a "bare" 1x1 convolution, a "separable" 3x3 one, or nothing.
      low_first: whether the low-level features come first in the concatenation.
      decoder_blocks: 3x3 convolutions after it.
      dropout: rate before the classifier, of whole channels.
      classifier_bias: whether the classifier has one.
      aux: whether there is an auxiliary head, on "layer3".
    """

    backbones: tuple[str, ...]
    stem: str
    output_stride: int
    dilate_first_block: bool
    align_corners: bool
    scale_rates: bool
    separable: str | None
    pool_first: bool
    project_kernel: int | None
    bare: bool
    after_pyramid: str | None
    low_first: bool
    decoder_blocks: int
    classifier_bias: bool
    dilate_first_of_efficientnet: bool = True
    dilate_basic_once: bool = False
    channels: int = 256
    low_channels: int = 48
    basic_divisor: int = 1
    pyramid_dropout: float = 0.0
    dropout: float = 0.0
    aux: bool = False


LINEAGES = {
    "vplr": Lineage(
        # EfficientNet-Lite0 and ResNet18 are not VPLR's; they are here for small machines, under VPLR's head.
        backbones=(*_RESNETS, "wide_resnet38", "efficientnet_lite0"),
        stem="7x7",
        output_stride=8,
        dilate_first_block=True,
        align_corners=True,
        scale_rates=False,
        separable=None,
        pool_first=True,
        project_kernel=None,
        bare=True,
        after_pyramid="bare",
        low_first=True,
        decoder_blocks=2,
        classifier_bias=False,
    ),
    "mmseg": Lineage(
        backbones=("resnet18", "resnet50", "resnet101"),
        stem="deep32",
        output_stride=8,
        dilate_first_block=False,
        dilate_basic_once=True,
        align_corners=False,
        scale_rates=True,
        channels=512,
        basic_divisor=4,
        separable="norm",
        pool_first=True,
        project_kernel=3,
        bare=False,
        after_pyramid=None,
        low_first=False,
        decoder_blocks=2,
        dropout=0.1,
        classifier_bias=True,
        aux=True,
    ),
    "smp": Lineage(
        backbones=(*_RESNETS, "efficientnet_lite0"),
        stem="7x7",
        output_stride=16,
        dilate_first_block=True,
        dilate_first_of_efficientnet=False,
        align_corners=True,
        scale_rates=False,
        separable="plain",
        pool_first=False,
        project_kernel=1,
        pyramid_dropout=0.5,
        bare=False,
        after_pyramid="separable",
        low_first=False,
        decoder_blocks=1,
        classifier_bias=True,
    ),
}
"""By implementation: VPLR (the default), mmsegmentation's `deeplabv3plus_r50-d8`, segmentation_models_pytorch."""


def _backbone(name: str, lineage: Lineage, **options: Any) -> tuple[_Backbone, str, str]:
    """The backbone and the names of its low-level and its last features."""
    if name == "wide_resnet38":
        return WideResNet38(**options), "mod2", "mod7"
    if name == "efficientnet_lite0":
        return EfficientNetLite0(dilate_first_block=lineage.dilate_first_of_efficientnet, **options), "stage1", "stage6"
    stem = lineage.stem
    if ARCHITECTURES[name].squeeze:  # Cadene's network, whatever the lineage
        stem = "7x7"
        options |= {"pool_padding": 0, "pool_ceil": True}
    backbone = ResNet(name, stem=stem, dilate_first_block=lineage.dilate_first_block, **options)
    if lineage.dilate_basic_once and not ARCHITECTURES[name].bottleneck:
        for block in (*backbone.layer3, *backbone.layer4):
            block.conv2.dilation = block.conv2.padding = 1
    return backbone, "layer1", "layer4"


class DeepLabV3Plus(nnx.Module):
    """Dilated backbone, spatial pyramid, and a decoder that adds the low-level features."""

    def __init__(
        self,
        num_classes: int,
        backbone: str,
        variant: Lineage,
        stride: int,
        *,
        rngs: nnx.Rngs,
        width: float,
        depth: float,
        aux: bool,
        dtype: DTypeLike,
    ):
        self.backbone, self.low, self.high = _backbone(
            backbone, variant, rngs=rngs, output_stride=stride, width=width, depth=depth, dtype=dtype
        )
        divisor = variant.basic_divisor if backbone == "resnet18" else 1
        channels, low_channels = (scaled(c // divisor, width) for c in (variant.channels, variant.low_channels))
        inside = self.backbone.channels
        rate = 8 * 12 // stride if variant.scale_rates else 12
        self.aspp = ASPP(
            inside[self.high],
            channels,
            rngs=rngs,
            rates=(rate, 2 * rate, 3 * rate),
            separable=variant.separable,
            pool_first=variant.pool_first,
            project_kernel=variant.project_kernel,
            dropout=variant.pyramid_dropout,
            dtype=dtype,
        )

        def block(in_channels: int) -> nnx.Module:
            if variant.separable is None:
                return ConvBN(in_channels, channels, 3, rngs=rngs, dtype=dtype)
            return SeparableConv(in_channels, channels, rngs=rngs, kind=variant.separable, dtype=dtype)

        self.bot_aspp = (
            None
            if variant.after_pyramid is None
            else Conv(self.aspp.out_channels, channels, 1, rngs=rngs, dtype=dtype)
            if variant.after_pyramid == "bare"
            else block(self.aspp.out_channels)
        )
        projection = Conv if variant.bare else ConvBN
        self.bot_fine = projection(inside[self.low], low_channels, 1, rngs=rngs, dtype=dtype)
        self.final = nnx.List(
            [block(channels + low_channels if i == 0 else channels) for i in range(variant.decoder_blocks)]
        )
        self.dropout = Dropout(variant.dropout, rngs=rngs, channels=True) if variant.dropout else None
        self.classifier = Conv(
            channels, num_classes, 1, rngs=rngs, bias=variant.classifier_bias, init_std=0.01, dtype=dtype
        )
        self.aux_head = (
            FCNHead(inside["layer3"], num_classes, rngs=rngs, channels=scaled(256 // divisor, width), dtype=dtype)
            if aux and variant.aux
            else None
        )
        self.low_first, self.align_corners = variant.low_first, variant.align_corners
        self.deterministic = False

    def __call__(self, images: Float[Array, "b h w 3"], perturb: Perturb | None = None) -> dict[str, Any]:
        """Logits (float32) at the input's size; those of the auxiliary head, in training mode only, in "layer3".

        `features` holds "low" (low-level features, at stride 4; WideResNet38's at stride 2), "high" (the backbone's
        last, at the output stride) and "decoder" (what the classifier sees, at the size of "low").
        """
        size = (images.shape[1], images.shape[2])
        features = perturbed(self.backbone(images), perturb)
        low, high = features[self.low], features[self.high]
        y = self.aspp(high)
        if self.bot_aspp is not None:
            y = self.bot_aspp(y)
        y = resize(y, (low.shape[1], low.shape[2]), align_corners=self.align_corners)
        fine = self.bot_fine(low)
        y = jnp.concatenate([fine, y] if self.low_first else [y, fine], axis=-1)
        for layer in self.final:
            y = layer(y)
        logits = self.classifier(y if self.dropout is None else self.dropout(y))
        out: dict[str, Any] = {
            "logits": resize_logits(logits, size, align_corners=self.align_corners),
            "aux": {},
            "features": {"low": low, "high": high, "decoder": y},
        }
        if self.aux_head is not None and not self.deterministic:
            z = self.aux_head(features["layer3"])
            out["aux"]["layer3"] = resize_logits(z, size, align_corners=self.align_corners)
        return out


def build(
    num_classes: int,
    *,
    rngs: nnx.Rngs,
    backbone: str = "resnext50_32x4d",
    lineage: str = "vplr",
    output_stride: int | None = None,
    width: float = 1.0,
    depth: float = 1.0,
    aux: bool = True,
    dtype: DTypeLike = jnp.float32,
) -> DeepLabV3Plus:
    """DeepLabV3+: VPLR's on ResNeXt50 has 39,822,912 parameters at 19 classes, on WideResNet38 137,103,936.

    Args:
      num_classes: classes C of the logits.
      rngs: where initial weights are drawn from.
      backbone: one of the lineage's `backbones`.
      lineage: a key of `LINEAGES`.
      output_stride: of the backbone, 8 or 16; None stands for the lineage's.
      width: channel multiplier, for tests.
      depth: multiplier of the backbone's blocks, for tests.
      aux: whether there is an auxiliary head (mmsegmentation has one, the others never do).
      dtype: compute dtype.

    Raises:
      CsstError: an output stride other than 8 and 16.
    """
    variant = LINEAGES[lineage]
    stride = variant.output_stride if output_stride is None else output_stride
    if stride not in (8, 16):
        raise CsstError(f"output_stride={stride}; give 8 or 16 for DeepLabV3+.")
    sizes = {"width": width, "depth": depth}
    return DeepLabV3Plus(num_classes, backbone, variant, stride, rngs=rngs, aux=aux, dtype=dtype, **sizes)
