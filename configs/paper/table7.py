"""Table 7. Semi-supervised methods with DeepLabV2 on ResNet101 (§4.3.6, §4.4): `paper/table7:row=csst_camvid`.

3K masks of Cityscapes or 367 of CamVid, and 40K unlabelled images. The paper gives this network no settings of its own:
§4.2's hold. For CamVid it does not say which split it judges on: here it is test, as is usual. The last row is the text
of §4.4. The other methods have their published numbers ([Methods](methods.md)) and §4.2's schedule. CRST has four
rounds of two stages, and the others one stage.
"""

from ml_collections import ConfigDict

from configs import _methods, camvid_full, rounds
from configs.paper import _rows
from configs.paper._rows import Row

_NETWORK = "deeplab_v2_resnet101"
_OTHERS = {  # in the paper's order
    "hlcon": ("HLCOn", "73.2", "68.1"),
    "cct": ("CCT", "71.9", "66.5"),
    "dst_cbc": ("DST-CBC", "72.8", "67.9"),
    "pseudoseg": ("PseudoSeg", "72.9", "68.9"),
}


def _camvid(network: str = _NETWORK) -> ConfigDict:
    c = _rows.as_published(camvid_full.get_config(f"net={network},pool=mapillary"))
    c.data.val_split = "test"
    return c


def _crst(c: ConfigDict) -> ConfigDict:
    """CBST's portions and rounds with CRST's model regulariser (yzou2/CRST f7e4df0, MRKLD).

    There one network goes on from round to round; here each student begins anew.
    """
    c = rounds.with_portions(c)
    c.student.method.name = "model_regulariser"
    return c


def _one_stage(method: str, c: ConfigDict) -> ConfigDict:
    """A method that makes its labels in its steps, with its published numbers, on the same images."""
    c.stages, c.teacher.method.name = _rows.ALONE, method
    if method == "hlcon":
        c.teacher.method.hlcon.update(_methods.HLCON_CITYSCAPES)
    return c


def _rows_of(method: str, what: str, streets: str, camvid: str) -> dict[str, Row]:
    return {
        f"{method}_cityscapes": Row(
            f"{what}, Cityscapes", streets, lambda: _one_stage(method, _rows.street(_NETWORK, _NETWORK))
        ),
        f"{method}_camvid": Row(f"{what}, CamVid", camvid, lambda: _one_stage(method, _camvid())),
    }


ROWS = {
    "baseline_cityscapes": Row("Baseline, Cityscapes", "71.0", lambda: _rows.street_alone(_NETWORK)),
    "baseline_camvid": Row("Baseline, CamVid", "63.4", lambda: _rows.alone(_camvid())),
    "crst_cityscapes": Row("CRST, Cityscapes", "72.7", lambda: _crst(_rows.street(_NETWORK, _NETWORK))),
    "crst_camvid": Row("CRST, CamVid", "67.2", lambda: _crst(_camvid())),
    **{name: row for method, about in _OTHERS.items() for name, row in _rows_of(method, *about).items()},
    "csst_cityscapes": Row("CSST, Cityscapes", "74.1", lambda: _rows.street(_NETWORK, _NETWORK)),
    "csst_camvid": Row("CSST, CamVid", "69.6", _camvid),
    "ocr_camvid": Row("CSST, CamVid, OCR on HRNet-W48 (§4.4)", "80.6", lambda: _camvid("ocr_hrnet_w48")),
}


def get_config(arg: str = "") -> ConfigDict:
    """Options: `row`, `pretrained`, `trained` (docs/paper.md)."""
    return _rows.config(ROWS, arg)
