"""EncNet (Zhang et al., CVPR 2018): a dilated ResNet; statistics of the whole image weigh its channels.

Sources: PyTorch-Encoding, by the paper's authors (the default), and mmsegmentation's `encnet_r50-d8`, `encnet_r101-d8`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones.resnet import ResNet, scaled
from csst_jax.models.heads.encoding import EncodingModule
from csst_jax.models.heads.fcn import FCNHead
from csst_jax.models.layers import Classifier, ConvBN, Dropout
from csst_jax.models.ops.resize import resize, resize_logits
from csst_jax.models.perturbation import Perturb, perturbed
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from jax.typing import DTypeLike


@dataclasses.dataclass(frozen=True)
class Lineage:
    """Where published implementations differ.

    Attributes:
      stem: of the trunk, a key of `resnet.STEMS`.
      align_corners: of every resize.
    """

    stem: str
    align_corners: bool


LINEAGES = {
    "encoding": Lineage(stem="deep", align_corners=True),
    "mmseg": Lineage(stem="deep32", align_corners=False),
}


class EncNet(nnx.Module):
    """Trunk, 3x3 convolution to 512 channels, optional lateral connections, encoding module, classifier."""

    def __init__(
        self,
        num_classes: int,
        *,
        rngs: nnx.Rngs,
        lineage: str = "encoding",
        backbone: str = "resnet101",
        output_stride: int = 8,
        lateral: bool = False,
        width: float = 1.0,
        depth: float = 1.0,
        aux: bool = True,
        dtype: DTypeLike = jnp.float32,
    ):
        """EncNet on ResNet101: 52,625,994 parameters at 21 classes, 54,991,199 with the auxiliary head.

        Options: `lineage` (a key of `LINEAGES`), `backbone` ("resnet101" or "resnet50"), `output_stride` (8 or 16),
        `lateral` (join layer2 and layer3 to the last features, as PyTorch-Encoding does on PASCAL data sets), `width`
        and `depth` (multipliers, for tests), `aux` (auxiliary head), `dtype` (compute dtype).
        """
        if output_stride not in (8, 16):
            raise CsstError(f"output_stride={output_stride}; give 8 or 16 for EncNet.")
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
        inside, middle = self.backbone.channels, scaled(512, width)
        self.conv5 = ConvBN(inside["layer4"], middle, 3, rngs=rngs, dtype=dtype)
        self.connect = (
            nnx.List([ConvBN(inside[name], middle, rngs=rngs, dtype=dtype) for name in ("layer2", "layer3")])
            if lateral
            else None
        )
        self.fusion = ConvBN(3 * middle, middle, 3, rngs=rngs, dtype=dtype) if lateral else None
        self.encmodule = EncodingModule(middle, num_classes, rngs=rngs, dtype=dtype)
        self.dropout = Dropout(0.1, rngs=rngs, channels=True)
        self.conv6 = Classifier(middle, num_classes, rngs=rngs, dtype=dtype)
        self.auxlayer = (
            FCNHead(inside["layer3"], num_classes, rngs=rngs, channels=scaled(256, width), dtype=dtype) if aux else None
        )
        self.align_corners = variant.align_corners
        self.deterministic = False  # True is how NNX marks evaluation mode

    def __call__(self, images: Float[Array, "b h w 3"], perturb: Perturb | None = None) -> dict[str, Any]:
        """Logits (float32) at the input's size.

        In training mode also `aux["layer3"]`, and under "presence" float32 logits `b c`: whether a class occurs
        anywhere in the image, for the semantic-encoding loss. The losses of the three weigh 1, 0.4 and 0.2
        (PyTorch-Encoding cc345c8 `encoding/nn/loss.py`; mmsegmentation, too).

        `features` holds "layer1" (stride 4), and at strides 8 to `output_stride` "layer2", "layer3", "layer4" and
        "encoded" (what the classifier sees).
        """
        size = (images.shape[1], images.shape[2])
        trunk = perturbed(self.backbone(images), perturb)
        x = self.conv5(trunk["layer4"])
        if self.connect is not None and self.fusion is not None:
            shape = (x.shape[1], x.shape[2])
            laterals = [conv(trunk[name]) for conv, name in zip(self.connect, ("layer2", "layer3"), strict=True)]
            # All of one size at output stride 8, the published one.
            laterals = [resize(y, shape, self.align_corners) for y in laterals]
            x = self.fusion(jnp.concatenate([x, *laterals], -1))
        x, presence = self.encmodule(x)
        y = self.conv6(self.dropout(x))
        out: dict[str, Any] = {
            "logits": resize_logits(y, size, self.align_corners),
            "aux": {},
            "features": {**{name: trunk[name] for name in ("layer1", "layer2", "layer3", "layer4")}, "encoded": x},
        }
        if not self.deterministic:
            out["presence"] = presence
            if self.auxlayer is not None:
                z = self.auxlayer(trunk["layer3"])
                out["aux"]["layer3"] = resize_logits(z, size, self.align_corners)
        return out


build = EncNet
