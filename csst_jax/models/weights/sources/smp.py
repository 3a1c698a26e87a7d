"""segmentation_models_pytorch: DeepLabV3+, FPN, U-Net and PSPNet (with its default, a trunk of three stages).

A source for each kind of trunk: so every name of ours comes from one of theirs, and can be turned back into it.
Preprocessing is what smp's `get_preprocessing_params` says of the encoder.
"""

from __future__ import annotations

from csst_jax.models.preprocessing import IMAGENET, Preprocessing
from csst_jax.models.weights.rules import BATCH_COUNTER, Source, modules
from csst_jax.models.weights.sources import efficientnet_lite
from csst_jax.models.weights.sources.resnet import RESNET, SE_RESNEXT, inside

_Pairs = tuple[tuple[str, str], ...]

_RESNET = inside(RESNET, r"encoder\.")
_SE_RESNEXT = inside(SE_RESNEXT, r"encoder\.")
# Of the encoders "tu-tf_efficientnet_lite0" to 2. "timm-tf_efficientnet_lite0" has no TensorFlow padding and another
# epsilon, so that it is another network; its names, without "model", are refused.
_EFFICIENTNET_LITE = inside(efficientnet_lite.TRUNK, r"encoder\.model\.")
_ASPP = r"decoder\.aspp\.0\."


def _deeplab_v3_plus(trunk: _Pairs, preprocessing: Preprocessing = IMAGENET) -> Source:
    pairs = (
        *trunk,
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
    )
    options = {"lineage": "smp", "aux": False}
    return Source("smp", modules(*pairs), drop=(BATCH_COUNTER,), preprocessing=preprocessing, options=options)


DEEPLAB_V3_PLUS = _deeplab_v3_plus(_RESNET)
DEEPLAB_V3_PLUS_SE = _deeplab_v3_plus(_SE_RESNEXT)
DEEPLAB_V3_PLUS_LITE = _deeplab_v3_plus(_EFFICIENTNET_LITE, efficientnet_lite.OF_TIMM)

PSPNET = Source(
    "smp",
    modules(
        *_RESNET,
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


def _fpn(trunk: _Pairs, preprocessing: Preprocessing = IMAGENET) -> Source:
    pairs = (
        *trunk,
        (r"decoder\.p5", "laterals.0"),
        *((rf"decoder\.p{5 - i}\.skip_conv", f"laterals.{i}") for i in (1, 2, 3)),
        (r"decoder\.seg_blocks\.(\d)\.block\.(\d)\.block\.0", r"branches.\1.\2.conv"),
        (r"decoder\.seg_blocks\.(\d)\.block\.(\d)\.block\.1", r"branches.\1.\2.gn"),
        (r"segmentation_head\.0", "classifier"),
    )
    return Source("smp", modules(*pairs), drop=(BATCH_COUNTER,), preprocessing=preprocessing)


FPN, FPN_LITE = _fpn(_RESNET), _fpn(_EFFICIENTNET_LITE, efficientnet_lite.OF_TIMM)


def _unet(trunk: _Pairs, preprocessing: Preprocessing = IMAGENET) -> Source:
    pairs = (
        *trunk,
        (r"decoder\.blocks\.(\d)\.(conv[12])\.0", r"blocks.\1.\2.conv"),
        (r"decoder\.blocks\.(\d)\.(conv[12])\.1", r"blocks.\1.\2.bn"),
        (r"segmentation_head\.0", "classifier"),
    )
    return Source("smp", modules(*pairs), drop=(BATCH_COUNTER,), preprocessing=preprocessing)


UNET, UNET_LITE = _unet(_RESNET), _unet(_EFFICIENTNET_LITE, efficientnet_lite.OF_TIMM)


def config(num_classes: int, preprocessing: Preprocessing) -> str:
    """What there is to say to smp for a network of ours, besides its class and encoder."""
    return f"classes={num_classes}; {preprocessing.told()}"
