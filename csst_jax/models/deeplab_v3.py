"""DeepLabV3 (Chen et al., 2017) on a dilated ResNet: pyramid of dilated convolutions, no decoder."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones.resnet import ResNet, scaled
from csst_jax.models.heads.aspp import ASPP
from csst_jax.models.heads.fcn import FCNHead
from csst_jax.models.ops.resize import resize_logits
from csst_jax.models.perturbation import Perturb, perturbed

if TYPE_CHECKING:
    from jax.typing import DTypeLike


@dataclasses.dataclass(frozen=True)
class Lineage:
    """Where published implementations differ.

    Attributes:
      stem: a key of `resnet.STEMS`.
      align_corners: convention of every resizing.
      channels: of ASPP's branches and all that follows them.
      pool_first: whether the image's mean comes first in ASPP's concatenation.
      project_kernel: of the convolution after the concatenation.
      aspp_dropout: rate after that convolution.
      num_convs: 3x3 convolutions between it and the classifier.
      dropout: rate before the classifier.
      dropout_channels: whether dropout drops whole channels of an image.
    """

    stem: str = "deep"
    align_corners: bool = True
    channels: int = 256
    pool_first: bool = False
    project_kernel: int = 1
    aspp_dropout: float = 0.5
    num_convs: int = 1
    dropout: float = 0.1
    dropout_channels: bool = True


# All of them give a dilated stage's first block half of the stage's dilation.
LINEAGES = {
    "encoding": Lineage(),  # PyTorch-Encoding, models/sseg/deeplab.py on resnet*s
    "gluon": Lineage(dropout_channels=False),  # gluon-cv, deeplabv3.py on resnet*_v1s
    # mmsegmentation 1.2.2, configs/_base_/models/deeplabv3_r50-d8.py
    "mmseg": Lineage(
        stem="deep32",
        align_corners=False,
        channels=512,
        pool_first=True,
        project_kernel=3,
        aspp_dropout=0.0,
        num_convs=0,
    ),
    # torchvision, models/segmentation/deeplabv3.py
    "torchvision": Lineage(stem="7x7", align_corners=False, dropout=0.0, dropout_channels=False),
}


class DeepLabV3(nnx.Module):
    """Trunk, `aspp`, main head (`block`) and auxiliary head on layer3 (`auxlayer`); PyTorch-Encoding's names."""

    def __init__(
        self,
        num_classes: int,
        *,
        rngs: nnx.Rngs,
        backbone: str = "resnet101",
        lineage: str = "encoding",
        output_stride: int = 8,
        width: float = 1.0,
        depth: float = 1.0,
        aux: bool = True,
        dtype: DTypeLike = jnp.float32,
    ):
        """DeepLabV3-R101: 58,754,259 parameters at 19 classes, 61,118,950 with the auxiliary head.

        Options: `backbone` ("resnet50" or "resnet101"), `lineage` (a key of `LINEAGES`), `output_stride` (8 or
        16), `aux` (auxiliary head), `dtype` (compute dtype), `width` and `depth` (multipliers, for tests).
        """
        variant = LINEAGES[lineage]
        self.backbone = ResNet(
            backbone,
            rngs=rngs,
            stem=variant.stem,
            output_stride=output_stride,
            dilate_first_block=False,
            width=width,
            depth=depth,
            dtype=dtype,
        )
        channels = scaled(variant.channels, width)
        self.aspp = ASPP(
            self.backbone.channels["layer4"],
            channels,
            rngs=rngs,
            # The same reach in pixels of the image at either stride (DeepLabV3, §4.1).
            rates=tuple(rate * 8 // output_stride for rate in (12, 24, 36)),
            pool_first=variant.pool_first,
            project_kernel=variant.project_kernel,
            dropout=variant.aspp_dropout,
            dropout_channels=variant.dropout_channels,
            dtype=dtype,
        )
        self.block = FCNHead(
            channels,
            num_classes,
            rngs=rngs,
            channels=channels,
            num_convs=variant.num_convs,
            dropout=variant.dropout,
            dropout_channels=variant.dropout_channels,
            dtype=dtype,
        )
        self.auxlayer = (
            FCNHead(
                self.backbone.channels["layer3"],
                num_classes,
                rngs=rngs,
                dropout_channels=variant.dropout_channels,
                dtype=dtype,
            )
            if aux
            else None
        )
        self.align_corners = variant.align_corners
        self.deterministic = False  # NNX sets it in evaluation mode, where the auxiliary head does not run

    def __call__(self, images: Float[Array, "b h w 3"], perturb: Perturb | None = None) -> dict[str, Any]:
        """Logits (float32) at the input's size; the auxiliary head's ("layer3") too, in training mode only.

        `features` holds "stem" (stride 2), "layer1" (4), "layer2" (8), "layer3" and "layer4" (the output stride) and
        "aspp" (the output stride).
        """
        size = (images.shape[1], images.shape[2])
        features = perturbed(self.backbone(images), perturb)
        features["aspp"] = self.aspp(features["layer4"])
        y = self.block(features["aspp"])
        auxiliary = {}
        if self.auxlayer is not None and not self.deterministic:
            z = self.auxlayer(features["layer3"])
            auxiliary["layer3"] = resize_logits(z, size, self.align_corners)
        return {
            "logits": resize_logits(y, size, self.align_corners),
            "aux": auxiliary,
            "features": features,
        }


build = DeepLabV3
