"""mmsegmentation 1.x on ResNetV1c: FCN, PSPNet, DeepLabV3, DeepLabV3+ (configs of these names)."""

from __future__ import annotations

from csst_jax.models.weights.sources.mmseg import LAYER, TRUNK, fcn_head, source

_ASPP = (
    (rf"decode_head\.aspp_modules\.(\d){LAYER}", r"aspp.convs.\1.\2"),
    (rf"decode_head\.image_pool\.1{LAYER}", r"aspp.pool.\1"),
    (rf"decode_head\.bottleneck{LAYER}", r"aspp.project.\1"),
)

FCN = source(*TRUNK, *fcn_head(r"decode_head", "head"), *fcn_head(r"auxiliary_head", "auxlayer"))

PSPNET = source(
    *TRUNK,
    (rf"decode_head\.psp_modules\.(\d)\.1{LAYER}", r"ppm.convs.\1.\2"),
    (rf"decode_head\.bottleneck{LAYER}", r"cls.convs.0.\1"),
    (r"decode_head\.conv_seg", "cls.conv_seg"),
    *fcn_head(r"auxiliary_head", "aux"),
)

DEEPLAB_V3 = source(
    *TRUNK,
    *_ASPP,
    (r"decode_head\.conv_seg", "block.conv_seg"),
    *fcn_head(r"auxiliary_head", "auxlayer"),
)

DEEPLAB_V3_PLUS = source(
    *TRUNK,
    *_ASPP,
    (rf"decode_head\.aspp_modules\.(\d)\.(depthwise|pointwise)_conv{LAYER}", r"aspp.convs.\1.\2.\3"),
    (rf"decode_head\.c1_bottleneck{LAYER}", r"bot_fine.\1"),
    (rf"decode_head\.sep_bottleneck\.(\d)\.(depthwise|pointwise)_conv{LAYER}", r"final.\1.\2.\3"),
    (r"decode_head\.conv_seg", "classifier"),
    *fcn_head(r"auxiliary_head", "aux_head"),
)
