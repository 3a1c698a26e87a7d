"""segmentation_models_pytorch: DeepLabV3+ and PSPNet (with its default, a trunk of three stages)."""

from __future__ import annotations

from csst_jax.models.weights.rules import BATCH_COUNTER, Source, modules
from csst_jax.models.weights.sources import efficientnet_lite
from csst_jax.models.weights.sources.resnet import RESNET, SE_RESNEXT, inside

_TRUNK = (*inside(RESNET, r"encoder\."), *inside(SE_RESNEXT, r"encoder\."))
_ASPP = r"decoder\.aspp\.0\."

DEEPLAB_V3_PLUS = Source(
    "smp",
    modules(
        *_TRUNK,
        # Of the encoder "tu-tf_efficientnet_lite0". "timm-tf_efficientnet_lite0" has no TensorFlow padding and another
        # epsilon, so that it is another network; its names, without "model", are refused.
        *inside(efficientnet_lite.TRUNK, r"encoder\.model\."),
        (rf"{_ASPP}convs\.0\.0", "aspp.convs.0.conv"),
        (rf"{_ASPP}convs\.0\.1", "aspp.convs.0.bn"),
        (rf"{_ASPP}convs\.([1-3])\.0\.0", r"aspp.convs.\1.depthwise"),
        (rf"{_ASPP}convs\.([1-3])\.0\.1", r"aspp.convs.\1.pointwise.conv"),
        (rf"{_ASPP}convs\.([1-3])\.1", r"aspp.convs.\1.pointwise.bn"),
        (rf"{_ASPP}convs\.4\.1", "aspp.pool.conv"),
        (rf"{_ASPP}convs\.4\.2", "aspp.pool.bn"),
        (rf"{_ASPP}project\.0", "aspp.project.conv"),
        (rf"{_ASPP}project\.1", "aspp.project.bn"),
        (r"decoder\.aspp\.1\.0", "bot_aspp.depthwise"),
        (r"decoder\.aspp\.1\.1", "bot_aspp.pointwise.conv"),
        (r"decoder\.aspp\.2", "bot_aspp.pointwise.bn"),
        (r"decoder\.block1\.0", "bot_fine.conv"),
        (r"decoder\.block1\.1", "bot_fine.bn"),
        (r"decoder\.block2\.0\.0", "final.0.depthwise"),
        (r"decoder\.block2\.0\.1", "final.0.pointwise.conv"),
        (r"decoder\.block2\.1", "final.0.pointwise.bn"),
        (r"segmentation_head\.0", "classifier"),
    ),
    drop=(BATCH_COUNTER,),
    options={"lineage": "smp", "aux": False},
)

PSPNET = Source(
    "smp",
    modules(
        *_TRUNK,
        # One bin: a convolution with a bias and no normalisation.
        (r"decoder\.psp\.blocks\.0\.pool\.1\.0", "ppm.convs.0"),
        (r"decoder\.psp\.blocks\.([1-3])\.pool\.1\.0", r"ppm.convs.\1.conv"),
        (r"decoder\.psp\.blocks\.([1-3])\.pool\.1\.1", r"ppm.convs.\1.bn"),
        (r"decoder\.conv\.0", "cls.convs.0.conv"),
        (r"decoder\.conv\.1", "cls.convs.0.bn"),
        (r"segmentation_head\.0", "cls.conv_seg"),
    ),
    drop=(BATCH_COUNTER, ("stages that are not used", r"encoder\.layer[34]\..*")),
    options={"lineage": "smp", "aux": False},
)
