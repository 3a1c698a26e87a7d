"""VPLR (NVIDIA/semantic-segmentation, branch sdcnet, network/deepv3.py): DeepLabV3+ on ResNets and on WideResNet38."""

from __future__ import annotations

from csst_jax.models.weights.rules import BATCH_COUNTER, Source, modules
from csst_jax.models.weights.sources.resnet import RESNET, SE_RESNEXT, inside

_WIDE = (
    (r"mod1\.conv1", "backbone.mod1"),
    *(
        pair
        for i in range(6)
        for pair in (
            (rf"(mod[2-7])\.block{i + 1}\.convs\.(conv\d)", rf"backbone.\1.{i}.\2"),
            (rf"(mod[2-7])\.block{i + 1}\.convs\.(bn\d)\.0", rf"backbone.\1.{i}.\2"),
            (rf"(mod[2-7])\.block{i + 1}\.(bn\d)\.0", rf"backbone.\1.{i}.\2"),
            (rf"(mod[2-7])\.block{i + 1}\.(proj_conv)", rf"backbone.\1.{i}.\2"),
        )
    ),
)

DEEPLAB_V3_PLUS = Source(
    "vplr",
    modules(
        # SE-ResNeXt's layer0 names its parts, a plain ResNet's numbers them.
        (r"layer0\.0", "backbone.conv1"),
        (r"layer0\.1", "backbone.bn1"),
        *inside(SE_RESNEXT, ""),
        *inside(RESNET[1:], ""),
        *_WIDE,
        (r"aspp\.features\.(\d)\.0", r"aspp.convs.\1.conv"),
        (r"aspp\.features\.(\d)\.1", r"aspp.convs.\1.bn"),
        (r"aspp\.img_conv\.0", "aspp.pool.conv"),
        (r"aspp\.img_conv\.1", "aspp.pool.bn"),
        (r"(bot_fine|bot_aspp)", r"\1"),
        (r"final\.0", "final.0.conv"),
        (r"final\.1", "final.0.bn"),
        (r"final\.3", "final.1.conv"),
        (r"final\.4", "final.1.bn"),
        (r"final\.6", "classifier"),
    ),
    drop=(BATCH_COUNTER,),
    options={"lineage": "vplr"},
)
