"""Undilated trunks whose features at strides 2 to 32 a decoder adds up (FPN) or concatenates (U-Net)."""

from __future__ import annotations

from typing import Any

from csst_jax.models.backbones.efficientnet_lite import ARCHITECTURES as EFFICIENTNETS
from csst_jax.models.backbones.efficientnet_lite import EfficientNetLite
from csst_jax.models.backbones.resnet import ResNet
from csst_jax.types import CsstError

RESNETS = ("resnet18", "resnet50", "resnet101", "resnext50_32x4d")
BACKBONES = (*RESNETS, *EFFICIENTNETS)


def pyramid(name: str, **options: Any) -> tuple[ResNet | EfficientNetLite, tuple[str, ...]]:
    """A trunk, and the names of its features at strides 2, 4, 8, 16 and 32: the last ones at each, as smp takes them.

    Args:
      name: one of `BACKBONES`.
      **options: the trunk's (`rngs`, `width`, `depth`, `dtype`).

    Raises:
      CsstError: unknown backbone.
    """
    if name in RESNETS:
        return ResNet(name, **options), ("stem", "layer1", "layer2", "layer3", "layer4")
    if name in EFFICIENTNETS:
        return EfficientNetLite(name, **options), ("stage0", "stage1", "stage2", "stage4", "stage6")
    raise CsstError(f"unknown backbone {name!r} of a feature pyramid; known are: {', '.join(BACKBONES)}.")
