"""Fully convolutional networks: a dilated ResNet, or HRNetV2-W48, and a head of few convolutions."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones.hrnet import HRNet, concatenate_branches
from csst_jax.models.backbones.resnet import ResNet
from csst_jax.models.heads.fcn import FCNHead
from csst_jax.models.ops.resize import resize_logits
from csst_jax.models.perturbation import Perturb, perturbed
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from jax.typing import DTypeLike

RESNETS = ("resnet50", "resnet101")
HRNETS = ("hrnet_w48",)
BACKBONES = (*RESNETS, *HRNETS)


@dataclasses.dataclass(frozen=True)
class Lineage:
    """Where published implementations differ.

    Attributes:
      backbones: those that the implementation publishes this network with.
      stem: of the ResNets, a key of `resnet.STEMS`.
      align_corners: convention of every resizing.
      num_convs: 3x3 convolutions on the ResNets' layer4.
      concat_input: whether one more sees layer4 next to their result.
      dropout_channels: whether dropout (none on HRNet) drops whole channels of an image.
      hrnet_bias: whether the 1x1 convolution on HRNet's branches has a bias before its batch normalisation.
      hrnet_two_steps: `upsample_in_two_steps` of `HRNet`.
    """

    backbones: tuple[str, ...] = RESNETS
    stem: str = "deep"
    align_corners: bool = True
    num_convs: int = 1
    concat_input: bool = False
    dropout_channels: bool = True
    hrnet_bias: bool = False
    hrnet_two_steps: bool = False


# All of them give a dilated stage's first block half of the stage's dilation.
LINEAGES = {
    "encoding": Lineage(),  # PyTorch-Encoding, models/fcn.py on resnet*s
    "gluon": Lineage(dropout_channels=False),  # gluon-cv, fcn.py on resnet*_v1s
    # HRNet-Semantic-Segmentation, lib/models/seg_hrnet.py
    "hrnet": Lineage(backbones=HRNETS, align_corners=False, hrnet_bias=True),
    # mmsegmentation 1.2.2, configs/_base_/models/fcn_r50-d8.py, and configs/hrnet/fcn_hr48_*.py
    "mmseg": Lineage(
        backbones=BACKBONES,
        stem="deep32",
        align_corners=False,
        num_convs=2,
        concat_input=True,
        hrnet_two_steps=True,
    ),
    # torchvision, models/segmentation/fcn.py
    "torchvision": Lineage(stem="7x7", align_corners=False, dropout_channels=False),
}

DEFAULT_LINEAGES = {"resnet50": "encoding", "resnet101": "encoding", "hrnet_w48": "hrnet"}


class FCN(nnx.Module):
    """Trunk, main head (`head`) and, on ResNets, an auxiliary head on layer3 (`auxlayer`); PyTorch-Encoding's names."""

    def __init__(
        self,
        num_classes: int,
        *,
        rngs: nnx.Rngs,
        backbone: str = "resnet101",
        lineage: str | None = None,
        output_stride: int | None = None,
        width: float = 1.0,
        depth: float = 1.0,
        aux: bool = True,
        dtype: DTypeLike = jnp.float32,
    ):
        """FCN-R101: 52,071,891 parameters at 19 classes, 54,436,582 with the auxiliary head; HRNetV2-W48 65,859,379.

        Options: `backbone` (of `BACKBONES`), `lineage` (a key of `LINEAGES`; None: `DEFAULT_LINEAGES`), `output_stride`
        (of the ResNets: 8, which None stands for, or 16), `aux` (auxiliary head), `dtype` (compute dtype), `width` and
        `depth` (multipliers, for tests).
        """
        variant = LINEAGES[lineage or DEFAULT_LINEAGES[backbone]]
        auxlayer = None
        if backbone in HRNETS:
            if output_stride is not None:
                raise CsstError(f"output_stride={output_stride}: {backbone} takes none; its branches have 4 to 32.")
            self.backbone: HRNet | ResNet = HRNet(
                rngs=rngs,
                align_corners=variant.align_corners,
                upsample_in_two_steps=variant.hrnet_two_steps,
                width=width,
                depth=depth,
                dtype=dtype,
            )
            channels = sum(self.backbone.channels.values())
            self.head = FCNHead(
                channels,
                num_classes,
                rngs=rngs,
                channels=channels,
                kernel_size=1,
                bias=variant.hrnet_bias,
                dropout=0.0,
                dtype=dtype,
            )
        else:
            self.backbone = ResNet(
                backbone,
                rngs=rngs,
                stem=variant.stem,
                output_stride=8 if output_stride is None else output_stride,
                dilate_first_block=False,
                width=width,
                depth=depth,
                dtype=dtype,
            )
            self.head = FCNHead(
                self.backbone.channels["layer4"],
                num_classes,
                rngs=rngs,
                num_convs=variant.num_convs,
                concat_input=variant.concat_input,
                dropout_channels=variant.dropout_channels,
                dtype=dtype,
            )
            if aux:
                auxlayer = FCNHead(
                    self.backbone.channels["layer3"],
                    num_classes,
                    rngs=rngs,
                    dropout_channels=variant.dropout_channels,
                    dtype=dtype,
                )
        self.auxlayer = auxlayer
        self.align_corners = variant.align_corners
        self.deterministic = False  # NNX sets it in evaluation mode, where the auxiliary head does not run

    def __call__(self, images: Float[Array, "b h w 3"], perturb: Perturb | None = None) -> dict[str, Any]:
        """Logits (float32) at the input's size; the auxiliary head's ("layer3") too, in training mode only.

        `features` of a ResNet: "stem" (stride 2), "layer1" (4), "layer2" (8), "layer3" and "layer4" (the output
        stride); of HRNet: "stride4", "stride8", "stride16", "stride32", and all of them in "branches" (stride 4).
        """
        size = (images.shape[1], images.shape[2])
        features = perturbed(self.backbone(images), perturb)
        if isinstance(self.backbone, HRNet):
            features["branches"] = concatenate_branches(features, self.align_corners)
            y = self.head(features["branches"])
        else:
            y = self.head(features["layer4"])
        auxiliary = {}
        if self.auxlayer is not None and not self.deterministic:
            z = self.auxlayer(features["layer3"])
            auxiliary["layer3"] = resize_logits(z, size, self.align_corners)
        return {
            "logits": resize_logits(y, size, self.align_corners),
            "aux": auxiliary,
            "features": features,
        }


build = FCN
