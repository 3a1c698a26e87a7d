"""FPN for segmentation (Kirillov et al., Panoptic Feature Pyramid Networks, arXiv:1901.02446) as smp has it.

segmentation_models_pytorch's `FPN`: features at strides 4 to 32 are summed from coarse to fine, each sum is brought to
stride 4 by 3x3 convolutions with group normalisation and doubling, and these four are added. smp refuses images whose
sides are no multiples of 32; here, where a side is odd, features are brought to the size of the finer ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones.pyramid import pyramid
from csst_jax.models.backbones.resnet import scaled
from csst_jax.models.layers import Conv, Dropout, GroupNorm, fan_in_std
from csst_jax.models.ops.resize import resize, resize_logits, resize_nearest
from csst_jax.models.perturbation import Perturb, perturbed

if TYPE_CHECKING:
    from jax.typing import DTypeLike

_PYRAMID_CHANNELS, _CHANNELS, _GROUPS, _DROPOUT = 256, 128, 32, 0.2
_STRIDES = (32, 16, 8, 4)


class ConvGN(nnx.Module):
    """3x3 convolution, group normalisation, ReLU, in smp's `Conv3x3GNReLU`."""

    def __init__(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        std = fan_in_std(in_channels, 3)
        self.conv = Conv(in_channels, out_channels, 3, rngs=rngs, padding=1, init_std=std, dtype=dtype)
        # 32 at full width; fewer in tests' narrow networks.
        self.gn = GroupNorm(out_channels, math.gcd(_GROUPS, out_channels), rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
        """Of the input's size."""
        return jax.nn.relu(self.gn(self.conv(x)))


class FPN(nnx.Module):
    """Trunk, sums from coarse to fine (`laterals`), and a branch of convolutions from each to stride 4 (`branches`)."""

    def __init__(
        self, num_classes: int, backbone: str, *, rngs: nnx.Rngs, width: float, depth: float, dtype: DTypeLike
    ):
        self.backbone, self.names = pyramid(backbone, rngs=rngs, width=width, depth=depth, dtype=dtype)
        inside = [self.backbone.channels[name] for name in self.names[:0:-1]]
        summed, channels = scaled(_PYRAMID_CHANNELS, width), scaled(_CHANNELS, width)
        self.laterals = nnx.List(
            [Conv(c, summed, 1, rngs=rngs, bias=True, init_std=fan_in_std(c), dtype=dtype) for c in inside]
        )
        self.branches = nnx.List(
            [
                # One convolution for each doubling up to stride 4, and one where there is none.
                nnx.List(
                    [
                        ConvGN(channels if i else summed, channels, rngs=rngs, dtype=dtype)
                        for i in range(max(1, len(_STRIDES) - 1 - level))
                    ]
                )
                for level in range(len(_STRIDES))
            ]
        )
        self.dropout = Dropout(_DROPOUT, rngs=rngs, channels=True)
        std = math.sqrt(2.0 / (channels + num_classes))  # Glorot's
        self.classifier = Conv(channels, num_classes, 1, rngs=rngs, bias=True, init_std=std, dtype=dtype)

    def __call__(self, images: Float[Array, "b h w 3"], perturb: Perturb | None = None) -> dict[str, Any]:
        """Logits (float32) at the input's size; there are no auxiliary heads.

        `features` holds "high" (the trunk's last, at stride 32), "low" (the trunk's at stride 4) and "decoder" (what
        the classifier sees, at stride 4).
        """
        size = (images.shape[1], images.shape[2])
        features = perturbed(self.backbone(images), perturb)
        levels = [features[name] for name in self.names[:0:-1]]
        sizes = [(level.shape[1], level.shape[2]) for level in levels]
        sums = [self.laterals[0](levels[0])]
        for lateral, level, shape in zip(self.laterals[1:], levels[1:], sizes[1:], strict=True):
            sums.append(resize_nearest(sums[-1], shape) + lateral(level))
        finest = []
        for coarser, branch in enumerate(self.branches):
            y = sums[coarser]
            for finer, conv in enumerate(branch, start=coarser + 1):
                y = conv(y)
                if finer < len(sizes):
                    y = resize(y, sizes[finer], align_corners=True)
            finest.append(y)
        y = sum(finest[1:], finest[0])
        logits = self.classifier(self.dropout(y))
        return {
            "logits": resize_logits(logits, size, align_corners=True),
            "aux": {},
            "features": {"high": levels[0], "low": levels[-1], "decoder": y},
        }


def build(
    num_classes: int,
    *,
    rngs: nnx.Rngs,
    backbone: str = "resnet50",
    width: float = 1.0,
    depth: float = 1.0,
    dtype: DTypeLike = jnp.float32,
) -> FPN:
    """FPN as in smp: 26,118,355 parameters at 19 classes on ResNet50.

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
    return FPN(num_classes, backbone, rngs=rngs, width=width, depth=depth, dtype=dtype)
