"""mmsegmentation 1.x: OCRNet and FCN on HRNet-W48 (configs/ocrnet, hrnet), and EncNet (configs/encnet)."""

from __future__ import annotations

import dataclasses

from csst_jax.models.weights.rules import linears
from csst_jax.models.weights.sources.mmseg import LAYER, TRUNK, fcn_head, source
from csst_jax.models.weights.sources.resnet import HRNET, inside

_BLOCK = r"decode_head\.1\.object_context_block\."
_OURS = "ocr_distri_head.object_context_block."
_HRNET = inside(HRNET, r"backbone\.")

OCR = source(
    *_HRNET,
    (rf"decode_head\.0\.convs\.0{LAYER}", r"aux_head.project.\1"),
    (r"decode_head\.0\.conv_seg", "aux_head.classifier"),
    (rf"decode_head\.1\.bottleneck{LAYER}", r"conv3x3_ocr.\1"),
    (rf"{_BLOCK}query_project\.(\d){LAYER}", rf"{_OURS}f_pixel.\1.\2"),
    (rf"{_BLOCK}key_project\.(\d){LAYER}", rf"{_OURS}f_object.\1.\2"),
    (rf"{_BLOCK}value_project{LAYER}", rf"{_OURS}f_down.\1"),
    (rf"{_BLOCK}out_project{LAYER}", rf"{_OURS}f_up.\1"),
    (rf"{_BLOCK}bottleneck{LAYER}", r"ocr_distri_head.conv.\1"),
    (r"decode_head\.1\.conv_seg", "cls_head"),
)

FCN_HRNET = source(*_HRNET, *fcn_head(r"decode_head", "head"))

_ENCODING = r"decode_head\.enc_module\.encoding"
_CODES = ((rf"{_ENCODING}\.0\.(codewords|scale)", r"encmodule.encoding.\1", "identity"),)
_GATES = linears((r"decode_head\.enc_module\.fc\.0", "encmodule.fc"), (r"decode_head\.se_layer", "encmodule.selayer"))
_ENCNET = source(
    *TRUNK,
    (rf"decode_head\.bottleneck{LAYER}", r"conv5.\1"),
    (rf"decode_head\.lateral_convs\.(\d){LAYER}", r"connect.\1.\2"),
    (rf"decode_head\.fusion{LAYER}", r"fusion.\1"),
    (rf"{_ENCODING}_project{LAYER}", r"encmodule.project.\1"),
    (rf"{_ENCODING}\.1", "encmodule.norm"),
    (r"decode_head\.conv_seg", "conv6"),
    *fcn_head(r"auxiliary_head", "auxlayer"),
)
ENCNET = dataclasses.replace(_ENCNET, rules=(*_CODES, *_GATES, *_ENCNET.rules))
