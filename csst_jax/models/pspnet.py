"""PSPNet (Zhao et al., 2017) on a dilated ResNet; the paper trains hszhao/semseg's PSPNet-R101 (Tables 3 and 6)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones.resnet import ResNet, scaled
from csst_jax.models.heads.fcn import FCNHead
from csst_jax.models.heads.psp import PyramidPooling
from csst_jax.models.ops.resize import resize_logits
from csst_jax.models.perturbation import Perturb, perturbed
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from jax.typing import DTypeLike


@dataclasses.dataclass(frozen=True)
class Lineage:
    """Where published implementations differ.

    Attributes:
      stem: a key of `resnet.STEMS`.
      dilate_first_block: whether a dilated stage's first block has all of the stage's dilation.
      align_corners: convention of every resizing.
      pyramid_channels: of each of the four branches; None stands for a quarter of the pyramid's input.
      kernel_size: of the convolution after the pyramid.
      dropout: rate before the classifier.
      dropout_channels: whether dropout drops whole channels of an image.
      shallow: smp's own network under this name: the trunk ends after layer2, the pyramid's input comes last, its
        branch with one bin has a bias and no batch normalisation, the classifier is 3x3, and nothing is auxiliary.
    """

    stem: str = "deep"
    dilate_first_block: bool = True
    align_corners: bool = True
    pyramid_channels: int | None = None
    kernel_size: int = 3
    dropout: float = 0.1
    dropout_channels: bool = True
    shallow: bool = False


LINEAGES = {
    "semseg": Lineage(),  # hszhao/semseg, model/pspnet.py
    "gluon": Lineage(dilate_first_block=False, dropout_channels=False),  # gluon-cv, pspnet.py on resnet*_v1s
    # mmsegmentation 1.2.2, configs/_base_/models/pspnet_r50-d8.py
    "mmseg": Lineage(stem="deep32", dilate_first_block=False, align_corners=False, pyramid_channels=512),
    # segmentation_models_pytorch, PSPNet with its default encoder_depth=3
    "smp": Lineage(stem="7x7", kernel_size=1, dropout=0.2, shallow=True),
}


class PSPNet(nnx.Module):
    """Trunk, pyramid pooling (`ppm`), main head (`cls`) and auxiliary head on layer3 (`aux`); semseg's names."""

    def __init__(
        self,
        num_classes: int,
        *,
        rngs: nnx.Rngs,
        backbone: str = "resnet101",
        lineage: str = "semseg",
        output_stride: int = 8,
        width: float = 1.0,
        depth: float = 1.0,
        aux: bool = True,
        dtype: DTypeLike = jnp.float32,
    ):
        """PSPNet-R101: 65,707,475 parameters at 19 classes, 68,072,166 with the auxiliary head.

        Options: `backbone` ("resnet50" or "resnet101"), `lineage` (a key of `LINEAGES`), `output_stride` (8 or
        16), `aux` (auxiliary head), `dtype` (compute dtype), `width` and `depth` (multipliers, for tests).
        """
        variant = LINEAGES[lineage]
        if variant.shallow and output_stride != 8:
            raise CsstError(f"output_stride={output_stride}; give 8 for PSPNet of lineage {lineage!r}.")
        self.backbone = ResNet(
            backbone,
            rngs=rngs,
            stem=variant.stem,
            output_stride=output_stride,
            dilate_first_block=variant.dilate_first_block,
            width=width,
            depth=depth,
            dtype=dtype,
        )
        self.last = "layer4"
        if variant.shallow:
            self.last = "layer2"
            # Empty stages let features through: no parameters that nothing uses.
            self.backbone.layer3, self.backbone.layer4 = nnx.List([]), nnx.List([])
        channels = self.backbone.channels[self.last]
        self.ppm = PyramidPooling(
            channels,
            channels // 4 if variant.pyramid_channels is None else scaled(variant.pyramid_channels, width),
            rngs=rngs,
            align_corners=variant.align_corners,
            input_first=not variant.shallow,
            norm_single=not variant.shallow,
            dtype=dtype,
        )
        self.cls = FCNHead(
            self.ppm.out_channels,
            num_classes,
            rngs=rngs,
            channels=scaled(512, width),
            kernel_size=variant.kernel_size,
            classifier_kernel=3 if variant.shallow else 1,
            dropout=variant.dropout,
            dropout_channels=variant.dropout_channels,
            dtype=dtype,
        )
        self.aux = (
            FCNHead(
                self.backbone.channels["layer3"],
                num_classes,
                rngs=rngs,
                dropout_channels=variant.dropout_channels,
                dtype=dtype,
            )
            if aux and not variant.shallow
            else None
        )
        self.align_corners = variant.align_corners
        self.deterministic = False  # NNX sets it in evaluation mode, where the auxiliary head does not run

    def __call__(self, images: Float[Array, "b h w 3"], perturb: Perturb | None = None) -> dict[str, Any]:
        """Logits (float32) at the input's size; the auxiliary head's ("layer3") too, in training mode only.

        `features` holds "stem" (stride 2), "layer1" (4), "layer2" (8), "layer3" and "layer4" (the output stride) and
        "ppm" (pyramid and trunk, the output stride); in the lineage "smp" no "layer3" and "layer4".
        """
        size = (images.shape[1], images.shape[2])
        features = perturbed(self.backbone(images), perturb)
        if self.last == "layer2":
            del features["layer3"], features["layer4"]
        features["ppm"] = self.ppm(features[self.last])
        y = self.cls(features["ppm"])
        auxiliary = {}
        if self.aux is not None and not self.deterministic:
            z = self.aux(features["layer3"])
            auxiliary["layer3"] = resize_logits(z, size, self.align_corners)
        return {
            "logits": resize_logits(y, size, self.align_corners),
            "aux": auxiliary,
            "features": features,
        }


build = PSPNet
