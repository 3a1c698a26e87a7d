"""mmsegmentation 1.x: FastSCNN (configs/fastscnn)."""

from __future__ import annotations

from csst_jax.models.weights.sources.mmseg import LAYER, source

_LTD = r"backbone\.learning_to_downsample\."
_GFE = r"backbone\.global_feature_extractor\."
_FFM = r"backbone\.feature_fusion\."

# Three blocks in each of three groups there, one list of nine here.
_BLOCKS = tuple(
    (rf"{_GFE}bottleneck{group + 1}\.{i}\.conv\.{step}{LAYER}", rf"global_feature_extractor.{3 * group + i}.{name}.\1")
    for group in range(3)
    for i in range(3)
    for step, name in enumerate(("expand", "depthwise", "project"))
)

SOURCE = source(
    (rf"{_LTD}conv{LAYER}", r"learning_to_downsample.conv.\1"),
    (rf"{_LTD}(dsconv[12])\.(depthwise|pointwise)_conv{LAYER}", r"learning_to_downsample.\1.\2.\3"),
    *_BLOCKS,
    (rf"{_GFE}ppm\.(\d)\.1{LAYER}", r"ppm.branches.\1.\2"),
    (rf"{_GFE}out{LAYER}", r"ppm.out.\1"),
    (rf"{_FFM}dwconv{LAYER}", r"feature_fusion.dwconv.\1"),
    (rf"{_FFM}conv_lower_res{LAYER}", r"feature_fusion.\1_low"),
    (rf"{_FFM}conv_higher_res{LAYER}", r"feature_fusion.\1_high"),
    (rf"decode_head\.convs\.0\.(depthwise|pointwise)_conv{LAYER}", r"dsconv1.\1.\2"),
    (rf"decode_head\.convs\.1\.(depthwise|pointwise)_conv{LAYER}", r"dsconv2.\1.\2"),
    (r"decode_head\.conv_seg", "classifier"),
    (rf"auxiliary_head\.([01])\.convs\.0{LAYER}", r"aux_heads.\1.conv.\2"),
    (r"auxiliary_head\.([01])\.conv_seg", r"aux_heads.\1.classifier"),
)
