"""torchvision: ImageNet classifiers as backbones (resnet18, 50, 101, resnext50_32x4d); FCN and DeepLabV3 as a whole."""

from __future__ import annotations

from csst_jax.models.weights.rules import BATCH_COUNTER, Source, modules
from csst_jax.models.weights.sources.resnet import RESNET, inside

BACKBONE = Source(
    "torchvision",
    modules(*inside(RESNET, "")),
    drop=(BATCH_COUNTER, ("ImageNet classifier", r"fc\.(weight|bias)")),
    backbone=True,
)

_AUXILIARY = (
    (r"aux_classifier\.0", "auxlayer.convs.0.conv"),
    (r"aux_classifier\.1", "auxlayer.convs.0.bn"),
    (r"aux_classifier\.4", "auxlayer.conv_seg"),
)

FCN = Source(
    "torchvision_segmentation",
    modules(
        *inside(RESNET, r"backbone\."),
        (r"classifier\.0", "head.convs.0.conv"),
        (r"classifier\.1", "head.convs.0.bn"),
        (r"classifier\.4", "head.conv_seg"),
        *_AUXILIARY,
    ),
    drop=(BATCH_COUNTER,),
    options={"lineage": "torchvision"},
)

DEEPLAB_V3 = Source(
    "torchvision_segmentation",
    modules(
        *inside(RESNET, r"backbone\."),
        (r"classifier\.0\.convs\.([0-3])\.0", r"aspp.convs.\1.conv"),
        (r"classifier\.0\.convs\.([0-3])\.1", r"aspp.convs.\1.bn"),
        (r"classifier\.0\.convs\.4\.1", "aspp.pool.conv"),
        (r"classifier\.0\.convs\.4\.2", "aspp.pool.bn"),
        (r"classifier\.0\.project\.0", "aspp.project.conv"),
        (r"classifier\.0\.project\.1", "aspp.project.bn"),
        (r"classifier\.1", "block.convs.0.conv"),
        (r"classifier\.2", "block.convs.0.bn"),
        (r"classifier\.4", "block.conv_seg"),
        *_AUXILIARY,
    ),
    drop=(BATCH_COUNTER,),
    options={"lineage": "torchvision"},
)
