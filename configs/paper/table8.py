"""Table 8. Cityscapes' test set (§4.3.7): `paper/table8:row=csst`.

OCR on HRNet-W48, teacher and student, scored at scales 0.5, 1 and 2, mirrored, in overlapping windows. The evaluation
server scores the test set, from a file that `python -m csst_jax.evaluate` writes ([Scores](scores.md#submissions)). The
other rows are figures that the paper quotes from other papers.
"""

from ml_collections import ConfigDict

from configs.paper import _rows
from configs.paper._rows import Row, missing

_QUOTED = {  # name: the paper's name and test mIoU
    "depthseg": ("DepthSeg [69]", "78.2"),
    "pspnet": ("PSPNet [22]", "78.4"),
    "aaf": ("AAF [70]", "79.1"),
    "panoptic_deeplab": ("PanoDeepLab [26]", "79.4"),
    "denseaspp": ("DenseASPP [71]", "80.6"),
    "spg": ("SPG [72]", "81.1"),
    "bfp": ("BFP [73]", "81.4"),
    "danet": ("DANet [29]", "81.5"),
    "hrnet_v2": ("HRNetv2 [74]", "81.8"),
    "acfnet": ("ACFNet [32]", "81.8"),
    "emanet": ("EMANet [75]", "81.9"),
    "acnet": ("ACNet [30]", "82.3"),
    "auto_deeplab": ("Auto-DeepLab-L [37]", "82.1"),
    "gated_scnn": ("Gated-SCNN [76]", "82.8"),
    "gald_net": ("GALD-Net [77]", "83.1"),
    "vplr": ("VPLR [11]", "83.5"),
    "decouple_seg_net": ("DecoupleSegNet [78]", "83.7"),
    "ocr": ("OCR [28]", "83.7"),
    "axial_deeplab": ("Axial-DeepLab-XL [79]", "84.1"),
    "efficientps": ("EfficientPS [80]", "84.2"),
    "dcnas": ("DCNAS [81]", "84.3"),
    "panoptic_deeplab_extra": ("PanoDeepLab [26], with extra masks", "84.5"),
}


def _ocr() -> ConfigDict:
    c = _rows.street("ocr_hrnet_w48", "ocr_hrnet_w48")
    c.evaluate.scales, c.evaluate.flip, c.evaluate.window_px = (0.5, 1.0, 2.0), True, c.student.crop_px
    return c


ROWS = {
    **{name: missing(what, f"test {miou}", "quoted from its own paper") for name, (what, miou) in _QUOTED.items()},
    "csst": Row("CSST (ours)", "test 83.8", _ocr),
}


def get_config(arg: str = "") -> ConfigDict:
    """Options: `row`, `pretrained`, `trained` (docs/paper.md)."""
    return _rows.config(ROWS, arg)
