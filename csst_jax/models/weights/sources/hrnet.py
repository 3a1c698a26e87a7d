"""HRNet-Semantic-Segmentation: OCR (branch HRNet-OCR, seg_hrnet_ocr.py) and HRNetV2 (seg_hrnet.py) on HRNet-W48.

Released files put "model." before the names and hold the class weights of the criterion.
"""

from __future__ import annotations

from csst_jax.models.weights.rules import BATCH_COUNTER, Source, modules
from csst_jax.models.weights.sources.resnet import HRNET, inside

_MODEL = r"(?:model\.)?"
_BLOCK = rf"{_MODEL}(ocr_distri_head\.object_context_block)"
_DROP = (BATCH_COUNTER, ("criterion", r"loss\..*"))

OCR = Source(
    "hrnet_ocr",
    modules(
        *inside(HRNET, _MODEL),
        (rf"{_MODEL}aux_head\.0", "aux_head.project.conv"),
        (rf"{_MODEL}aux_head\.1", "aux_head.project.bn"),
        (rf"{_MODEL}aux_head\.3", "aux_head.classifier"),
        (rf"{_MODEL}conv3x3_ocr\.0", "conv3x3_ocr.conv"),
        (rf"{_MODEL}conv3x3_ocr\.1", "conv3x3_ocr.bn"),
        (rf"{_BLOCK}\.(f_pixel|f_object)\.0", r"\1.\2.0.conv"),
        (rf"{_BLOCK}\.(f_pixel|f_object)\.1\.0", r"\1.\2.0.bn"),
        (rf"{_BLOCK}\.(f_pixel|f_object)\.2", r"\1.\2.1.conv"),
        (rf"{_BLOCK}\.(f_pixel|f_object)\.3\.0", r"\1.\2.1.bn"),
        (rf"{_BLOCK}\.(f_down|f_up)\.0", r"\1.\2.conv"),
        (rf"{_BLOCK}\.(f_down|f_up)\.1\.0", r"\1.\2.bn"),
        (rf"{_MODEL}ocr_distri_head\.conv_bn_dropout\.0", "ocr_distri_head.conv.conv"),
        (rf"{_MODEL}ocr_distri_head\.conv_bn_dropout\.1\.0", "ocr_distri_head.conv.bn"),
        (rf"{_MODEL}cls_head", "cls_head"),
    ),
    drop=_DROP,
    options={"lineage": "original"},
)

FCN = Source(
    "hrnet_ocr",
    modules(
        *inside(HRNET, _MODEL),
        (rf"{_MODEL}last_layer\.0", "head.convs.0.conv"),
        (rf"{_MODEL}last_layer\.1", "head.convs.0.bn"),
        (rf"{_MODEL}last_layer\.3", "head.conv_seg"),
    ),
    drop=_DROP,
    options={"lineage": "hrnet"},
)
