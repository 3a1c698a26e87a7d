"""DeepLabV2 (Chen et al., arXiv:1606.00915) on ResNet101, as the paper's Table 7 compares with it.

The implementation is the one that AdvSemiSeg, s4GAN (semisup-semseg) and CRST share: a ResNet in Caffe's form and four
dilated classifiers on its last features, summed. No decoder, no auxiliary head, no multi-scale fusion.
Published runs freeze each batch normalisation's scale and bias and learn the classifiers (`layer5`) with ten times the
rate; both are the training recipe's affair. Their images are BGR, 0 to 255, minus a mean, without a deviation.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones.resnet import ResNet
from csst_jax.models.layers import Conv
from csst_jax.models.ops.resize import resize_logits
from csst_jax.models.perturbation import Perturb, perturbed
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from jax.typing import DTypeLike

_RATES = (6, 12, 18, 24)


@dataclasses.dataclass(frozen=True)
class Lineage:
    """Where the published implementations differ.

    Attributes:
      branches: how many of the four classifiers the sum takes, in the order of their rates.
    """

    branches: int


LINEAGES = {
    "crst": Lineage(branches=4),
    # The loop over the classifiers returns in its first turn: those with rates 18 and 24 exist and do nothing.
    "s4gan": Lineage(branches=2),
}
"""By implementation. The DeepLabV2 paper agrees with "crst", the default; AdvSemiSeg's code is s4GAN's."""


class SummedClassifiers(nnx.Module):
    """3x3 convolutions to the classes' logits at several dilations, summed."""

    def __init__(self, in_channels: int, num_classes: int, branches: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.conv2d_list = nnx.List(
            [
                Conv(
                    in_channels,
                    num_classes,
                    3,
                    rngs=rngs,
                    padding=rate,
                    dilation=rate,
                    bias=True,
                    init_std=0.01,
                    dtype=dtype,
                )
                for rate in _RATES
            ]
        )
        self.branches = branches

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
        """float32 logits: the sum is rounded nowhere."""
        logits = [conv(x).astype(jnp.float32) for conv in self.conv2d_list]
        # Those that the sum leaves out cost nothing: the compiler drops what nobody reads.
        return functools.reduce(jnp.add, logits[: self.branches])


class DeepLabV2(nnx.Module):
    """Dilated ResNet in Caffe's form (stride in the first 1x1, pooling in `ceil_mode`), and classifiers."""

    def __init__(
        self, num_classes: int, backbone: ResNet, lineage: Lineage, *, rngs: nnx.Rngs, dtype: DTypeLike = jnp.float32
    ):
        self.backbone = backbone
        self.layer5 = SummedClassifiers(
            backbone.channels["layer4"], num_classes, lineage.branches, rngs=rngs, dtype=dtype
        )

    def __call__(self, images: Float[Array, "b h w 3"], perturb: Perturb | None = None) -> dict[str, Any]:
        """Logits (float32) at the input's size; no auxiliary ones.

        `features` holds the backbone's "stem" (stride 2), "layer1" (4), "layer2" (8), and "layer3" and "layer4" (the
        output stride). From the pooling on (`ceil_mode`), a side s has s / stride + 1 positions, rounded up or down as
        its windows fall.
        """
        features = perturbed(self.backbone(images), perturb)
        logits = self.layer5(features["layer4"])
        # align_corners=True: AdvSemiSeg's and semisup-semseg's training.
        size = (images.shape[1], images.shape[2])
        return {"logits": resize_logits(logits, size, align_corners=True), "aux": {}, "features": features}


def build(
    num_classes: int,
    *,
    rngs: nnx.Rngs,
    backbone: str = "resnet101",
    lineage: str = "crst",
    output_stride: int = 8,
    width: float = 1.0,
    depth: float = 1.0,
    aux: bool = True,
    dtype: DTypeLike = jnp.float32,
) -> DeepLabV2:
    """DeepLabV2-ResNet101: 43,901,068 parameters at 19 classes, 44,048,532 at 21.

    Args:
      num_classes: classes C of the logits.
      rngs: where initial weights are drawn from.
      backbone: "resnet101" or "resnet50".
      lineage: a key of `LINEAGES`.
      output_stride: of the backbone, 8 or 16.
      width: channel multiplier, for tests.
      depth: multiplier of the backbone's blocks, for tests.
      aux: changes nothing, there is no auxiliary head; networks are configured alike.
      dtype: compute dtype.

    Raises:
      CsstError: an output stride other than 8 and 16.
    """
    del aux
    if output_stride not in (8, 16):
        raise CsstError(f"output_stride={output_stride}; give 8 or 16 for DeepLabV2.")
    trunk = ResNet(
        backbone,
        rngs=rngs,
        output_stride=output_stride,
        stride_in_1x1=True,
        pool_ceil=True,
        width=width,
        depth=depth,
        dtype=dtype,
    )
    return DeepLabV2(num_classes, trunk, LINEAGES[lineage], rngs=rngs, dtype=dtype)
