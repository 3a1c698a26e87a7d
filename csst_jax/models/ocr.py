"""OCR (Yuan et al., 2020) on HRNetV2-W48, the largest network of the paper's Table 3.

Sources: the branch HRNet-OCR of HRNet-Semantic-Segmentation (the default), and mmsegmentation's `ocrnet_hr48`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones.hrnet import HRNet, concatenate_branches
from csst_jax.models.backbones.resnet import scaled
from csst_jax.models.heads.hrnet_v2 import HRNetV2Head
from csst_jax.models.heads.ocr import SpatialOCR, spatial_gather
from csst_jax.models.layers import Classifier, ConvBN
from csst_jax.models.ops.resize import resize_logits
from csst_jax.models.perturbation import Perturb, perturbed

if TYPE_CHECKING:
    from jax.typing import DTypeLike


@dataclasses.dataclass(frozen=True)
class Lineage:
    """Where published implementations differ.

    Attributes:
      align_corners: of every resize.
      upsample_in_two_steps: see `HRNet`.
      bias: whether the heads' first convolutions have one in spite of the normalisation that follows.
      dropout: rate before the classifier, of whole channels; 0 for none.
    """

    align_corners: bool
    upsample_in_two_steps: bool
    bias: bool
    dropout: float


LINEAGES = {
    "original": Lineage(align_corners=True, upsample_in_two_steps=False, bias=True, dropout=0.05),
    "mmseg": Lineage(align_corners=False, upsample_in_two_steps=True, bias=False, dropout=0.0),
}


class OCR(nnx.Module):
    """HRNet, a coarse classifier whose logits are the soft object regions, and the classifier that sees both."""

    def __init__(
        self,
        num_classes: int,
        *,
        rngs: nnx.Rngs,
        lineage: str = "original",
        backbone: str = "hrnet_w48",
        width: float = 1.0,
        depth: float = 1.0,
        aux: bool = True,
        dtype: DTypeLike = jnp.float32,
    ):
        """OCR on HRNetV2-W48: 70,372,678 parameters at 19 classes.

        Options: `lineage` (a key of `LINEAGES`), `backbone` ("hrnet_w48"), `width` and `depth` (multipliers, for
        tests), `aux` (whether to return the coarse logits for a loss; the main classifier needs that head, so its
        parameters stay), `dtype` (compute dtype).
        """
        del backbone  # there is one; networks are configured alike
        variant = LINEAGES[lineage]
        self.backbone = HRNet(
            rngs=rngs,
            align_corners=variant.align_corners,
            upsample_in_two_steps=variant.upsample_in_two_steps,
            width=width,
            depth=depth,
            dtype=dtype,
        )
        inside = sum(self.backbone.channels.values())
        middle, key = scaled(512, width), scaled(256, width)
        self.aux_head = HRNetV2Head(inside, num_classes, rngs=rngs, bias=variant.bias, dtype=dtype)
        self.conv3x3_ocr = ConvBN(inside, middle, 3, rngs=rngs, bias=variant.bias, dtype=dtype)
        self.ocr_distri_head = SpatialOCR(middle, key, rngs=rngs, dropout=variant.dropout, dtype=dtype)
        self.cls_head = Classifier(middle, num_classes, rngs=rngs, dtype=dtype)
        self.align_corners, self.aux = variant.align_corners, aux
        self.deterministic = False  # True is how NNX marks evaluation mode

    def __call__(self, images: Float[Array, "b h w 3"], perturb: Perturb | None = None) -> dict[str, Any]:
        """Logits (float32) at the input's size; in training mode `aux["regions"]` too: the coarse classifier's.

        HRNet-Semantic-Segmentation returns the two as [regions, logits] and weighs their losses 0.4 and 1.

        `features` holds the branches "stride4", "stride8", "stride16" and "stride32", and at stride 4 "trunk" (the
        branches concatenated) and "ocr" (what the classifier sees).
        """
        size = (images.shape[1], images.shape[2])
        branches = perturbed(self.backbone(images), perturb)
        trunk = concatenate_branches(branches, self.align_corners)
        coarse = self.aux_head(trunk)
        features = self.conv3x3_ocr(trunk)
        features = self.ocr_distri_head(features, spatial_gather(features, coarse))
        out: dict[str, Any] = {
            "logits": resize_logits(self.cls_head(features), size, self.align_corners),
            "aux": {},
            "features": {**branches, "trunk": trunk, "ocr": features},
        }
        if self.aux and not self.deterministic:
            out["aux"]["regions"] = resize_logits(coarse, size, self.align_corners)
        return out


build = OCR
