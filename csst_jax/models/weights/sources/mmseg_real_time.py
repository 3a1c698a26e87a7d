"""mmsegmentation 1.x: BiSeNetV1 (configs/bisenetv1) and ICNet (configs/icnet)."""

from __future__ import annotations

from csst_jax.models.weights.sources.mmseg import LAYER, source
from csst_jax.models.weights.sources.resnet import DEEP_STEM, RESNET, inside

_CONTEXT = r"backbone\.context_path\."
_SPATIAL = r"backbone\.spatial_path\."

BISENET = source(
    *inside(RESNET, rf"{_CONTEXT}backbone\.", "context_path."),
    (rf"{_SPATIAL}layer1{LAYER}", r"spatial_path.conv_7x7.\1"),
    (rf"{_SPATIAL}layer2{LAYER}", r"spatial_path.conv_3x3_1.\1"),
    (rf"{_SPATIAL}layer3{LAYER}", r"spatial_path.conv_3x3_2.\1"),
    (rf"{_SPATIAL}layer4{LAYER}", r"spatial_path.conv_1x1.\1"),
    (rf"{_CONTEXT}gap_conv\.1{LAYER}", r"global_context.\1"),
    (rf"{_CONTEXT}arm32\.conv_layer{LAYER}", r"arms.0.conv_3x3.\1"),
    (rf"{_CONTEXT}arm32\.atten_conv_layer\.1{LAYER}", r"arms.0.channel_attention.\1"),
    (rf"{_CONTEXT}arm16\.conv_layer{LAYER}", r"arms.1.conv_3x3.\1"),
    (rf"{_CONTEXT}arm16\.atten_conv_layer\.1{LAYER}", r"arms.1.channel_attention.\1"),
    (rf"{_CONTEXT}conv_head32{LAYER}", r"refines.0.\1"),
    (rf"{_CONTEXT}conv_head16{LAYER}", r"refines.1.\1"),
    (rf"backbone\.ffm\.conv1{LAYER}", r"ffm.conv_1x1.\1"),
    (rf"backbone\.ffm\.conv_atten\.0{LAYER}", r"ffm.channel_attention.0.\1"),
    (rf"decode_head\.convs\.0{LAYER}", r"head.conv_3x3.\1"),
    (r"decode_head\.conv_seg", "head.conv_1x1"),
    # The first of theirs is at stride 8; ours run from coarse to fine.
    (rf"auxiliary_head\.0\.convs\.0{LAYER}", r"aux_heads.1.conv_3x3.\1"),
    (r"auxiliary_head\.0\.conv_seg", "aux_heads.1.conv_1x1"),
    (rf"auxiliary_head\.1\.convs\.0{LAYER}", r"aux_heads.0.conv_3x3.\1"),
    (r"auxiliary_head\.1\.conv_seg", "aux_heads.0.conv_1x1"),
)

ICNET = source(
    *inside(DEEP_STEM, r"backbone\.backbone\."),
    (rf"backbone\.psp_modules\.(\d)\.1{LAYER}", r"psp.branches.\1.\2"),
    (rf"backbone\.psp_bottleneck{LAYER}", r"psp.bottleneck.\1"),
    (rf"backbone\.(conv_sub\d(?:\.\d)?){LAYER}", r"\1.\2"),
    (rf"neck\.(cff_\d+\.conv_(?:low|high)){LAYER}", r"\1.\2"),
    (rf"decode_head\.convs\.0{LAYER}", r"head.conv_3x3.\1"),
    (r"decode_head\.conv_seg", "head.conv_cls"),
    (rf"auxiliary_head\.(\d)\.convs\.0{LAYER}", r"aux_heads.\1.conv_3x3.\2"),
    (r"auxiliary_head\.(\d)\.conv_seg", r"aux_heads.\1.conv_cls"),
)
