"""timm: ImageNet classifiers as backbones (resnet18/50/101, resnext50_32x4d, legacy_seresnext50_32x4d, hrnet_w48)."""

from __future__ import annotations

from csst_jax.models.weights.rules import BATCH_COUNTER, Source, modules
from csst_jax.models.weights.sources.resnet import HRNET, RESNET, SE_RESNEXT, inside

RESNETS = Source(
    "timm",
    rules=modules(*inside(RESNET, ""), *inside(SE_RESNEXT, "")),
    drop=(BATCH_COUNTER, ("ImageNet classifier", r"(fc|last_linear)\.(weight|bias)")),
    backbone=True,
)

HRNETS = Source(
    "timm",
    rules=modules(*inside(HRNET, "")),
    drop=(
        BATCH_COUNTER,
        ("ImageNet head", r"(incre_modules|downsamp_modules|final_layer)\..*"),
        ("ImageNet classifier", r"classifier\.(weight|bias)"),
    ),
    backbone=True,
)
