"""DINOv2 with a DPT head, the network of UniMatch V2 (Yang et al., arXiv:2410.10777); and DINOv3 with the same head.

Source: LiheYoung/UniMatch-V2, `model/semseg/dpt.py`. It learns with AdamW at 5e-6 in the trunk and 40 times that in the
head (docs/networks.md). Images whose sides are no multiples of a patch's (14, or 16 of DINOv3) are resized to the
nearest ones, and the logits back, as in its evaluation.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones import dinov2, dinov3
from csst_jax.models.backbones.resnet import scaled
from csst_jax.models.heads.dpt import DPTHead
from csst_jax.models.layers import Conv, fan_in_std
from csst_jax.models.ops.resize import resize, resize_logits
from csst_jax.models.perturbation import Perturb, perturbed

if TYPE_CHECKING:
    from jax.typing import DTypeLike


@dataclasses.dataclass(frozen=True)
class Head:
    """Channels of the head.

    Attributes:
      inside: of the four maps of the pyramid, the finest first.
      channels: of the sums.
    """

    inside: tuple[int, int, int, int]
    channels: int


_SIZES = {
    "small": Head((48, 96, 192, 384), 64),
    "base": Head((96, 192, 384, 768), 128),
    "large": Head((256, 512, 1024, 1024), 256),
}
HEADS = {f"{family}_{size}": head for family in ("dinov2", "dinov3") for size, head in _SIZES.items()}


class DPT(nnx.Module):
    """Trunk, head and a classifier of one convolution."""

    def __init__(
        self, num_classes: int, backbone: str, *, rngs: nnx.Rngs, width: float, depth: float, dtype: DTypeLike
    ):
        trunk = dinov3.DINOv3 if backbone in dinov3.ARCHITECTURES else dinov2.DINOv2
        self.backbone = trunk(backbone, rngs=rngs, width=width, depth=depth, dtype=dtype)
        inside, channels = [scaled(c, width) for c in HEADS[backbone].inside], scaled(HEADS[backbone].channels, width)
        self.head = DPTHead(self.backbone.channels, inside, channels, rngs=rngs, dtype=dtype)
        std = fan_in_std(channels, gain=1 / 3)  # PyTorch's default
        self.classifier = Conv(channels, num_classes, 1, rngs=rngs, bias=True, init_std=std, dtype=dtype)

    def __call__(self, images: Float[Array, "b h w 3"], perturb: Perturb | None = None) -> dict[str, Any]:
        """Logits (float32) at the input's size; there are no auxiliary heads.

        `features` holds the trunk's four maps, one position a patch, "block1", "block2", "block3" and "high" (the
        last), and "decoder" (what the classifier sees, eight positions a patch's side).
        """
        size = (images.shape[1], images.shape[2])
        whole = (_nearest(size[0], self.backbone.patch), _nearest(size[1], self.backbone.patch))
        names = ("block1", "block2", "block3", "high")
        maps = self.backbone(resize(images, whole, align_corners=True))
        features = perturbed(dict(zip(names, maps, strict=True)), perturb)
        y = self.head([features[name] for name in names])
        logits = resize_logits(self.classifier(y), whole, align_corners=True)
        if whole != size:
            logits = resize_logits(logits, size, align_corners=True)
        return {"logits": logits, "aux": {}, "features": {**features, "decoder": y}}


def _nearest(pixels: int, patch: int) -> int:
    """The nearest multiple of a patch's side, at least one; the larger one of two."""
    return max(1, (pixels + patch // 2) // patch) * patch


def build(
    num_classes: int,
    *,
    rngs: nnx.Rngs,
    backbone: str = "dinov2_base",
    width: float = 1.0,
    depth: float = 1.0,
    dtype: DTypeLike = jnp.float32,
) -> DPT:
    """DPT on DINOv2 as in UniMatch V2, or on DINOv3.

    Args:
      num_classes: classes C of the logits.
      rngs: where initial weights are drawn from.
      backbone: "dinov2_small", "dinov2_base" or "dinov2_large"; or "dinov3_small" and so on.
      width: multiplier of heads and channels, for tests.
      depth: multiplier of the trunk's blocks, for tests.
      dtype: compute dtype.
    """
    return DPT(num_classes, backbone, rngs=rngs, width=width, depth=depth, dtype=dtype)
