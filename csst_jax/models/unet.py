"""U-Net (Ronneberger et al., arXiv:1505.04597) on a trunk from ImageNet, as smp has it.

segmentation_models_pytorch's `Unet`: from the coarsest features on, five times doubled by repeating pixels,
concatenated with the trunk's features there (the fifth time there are none) and convolved twice.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones.pyramid import pyramid
from csst_jax.models.backbones.resnet import scaled
from csst_jax.models.layers import Conv, ConvBN, fan_in_std
from csst_jax.models.ops.resize import resize_logits, resize_nearest
from csst_jax.models.perturbation import Perturb, perturbed

if TYPE_CHECKING:
    from jax.typing import DTypeLike

_CHANNELS = (256, 128, 64, 32, 16)


class Block(nnx.Module):
    """Doubles, concatenates the trunk's features of that size, if there are any, and convolves twice."""

    def __init__(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        def unit(inside: int) -> ConvBN:
            return ConvBN(inside, out_channels, 3, rngs=rngs, init_std=fan_in_std(inside, 3), dtype=dtype)

        self.conv1, self.conv2 = unit(in_channels), unit(out_channels)

    def __call__(
        self, x: Float[Array, "b p q d"], size: tuple[int, int], skip: Float[Array, "b h w c"] | None
    ) -> Float[Array, "b h w o"]:
        """Features of `size` (height, width), which is `skip`'s."""
        x = resize_nearest(x, size)
        return self.conv2(self.conv1(x if skip is None else jnp.concatenate([x, skip], axis=-1)))


class UNet(nnx.Module):
    """Trunk and five blocks."""

    def __init__(
        self, num_classes: int, backbone: str, *, rngs: nnx.Rngs, width: float, depth: float, dtype: DTypeLike
    ):
        self.backbone, self.names = pyramid(backbone, rngs=rngs, width=width, depth=depth, dtype=dtype)
        inside, *skips = [self.backbone.channels[name] for name in reversed(self.names)]
        blocks = []
        for skip, full in zip((*skips, 0), _CHANNELS, strict=True):
            channels = scaled(full, width)
            blocks.append(Block(inside + skip, channels, rngs=rngs, dtype=dtype))
            inside = channels
        self.blocks = nnx.List(blocks)
        std = math.sqrt(2.0 / (9 * (inside + num_classes)))  # Glorot's
        self.classifier = Conv(inside, num_classes, 3, rngs=rngs, padding=1, bias=True, init_std=std, dtype=dtype)

    def __call__(self, images: Float[Array, "b h w 3"], perturb: Perturb | None = None) -> dict[str, Any]:
        """Logits (float32) at the input's size; there are no auxiliary heads.

        `features` holds "high" (the trunk's last, at stride 32), "low" (the trunk's at stride 4) and "decoder" (what
        the classifier sees, at the input's size).
        """
        size = (images.shape[1], images.shape[2])
        features = perturbed(self.backbone(images), perturb)
        y, *skips = [features[name] for name in reversed(self.names)]
        for block, skip in zip(self.blocks, (*skips, None), strict=True):
            y = block(y, size if skip is None else (skip.shape[1], skip.shape[2]), skip)
        return {
            "logits": resize_logits(self.classifier(y), size, align_corners=False),  # of that size already
            "aux": {},
            "features": {"high": features[self.names[-1]], "low": features[self.names[1]], "decoder": y},
        }


def build(
    num_classes: int,
    *,
    rngs: nnx.Rngs,
    backbone: str = "resnet50",
    width: float = 1.0,
    depth: float = 1.0,
    dtype: DTypeLike = jnp.float32,
) -> UNet:
    """U-Net as in smp: 32,523,715 parameters at 19 classes on ResNet50.

    Args:
      num_classes: classes C of the logits.
      rngs: where initial weights are drawn from.
      backbone: one of `backbones.pyramid.BACKBONES`.
      width: channel multiplier, for tests.
      depth: multiplier of the backbone's blocks, for tests.
      dtype: compute dtype.

    Raises:
      CsstError: unknown backbone.
    """
    return UNet(num_classes, backbone, rngs=rngs, width=width, depth=depth, dtype=dtype)
