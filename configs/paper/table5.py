"""Table 5. How much faster coarse2fine+ makes each network (§4.3.5): `paper/table5:row=fast_scnn`.

Run each row as it is and with `--config.student.schedule.kind=constant`, and compare the students' times. Give the same
teacher to both as `trained`.
"""

from ml_collections import ConfigDict

from configs.paper import _rows, table3
from configs.paper._rows import Row

_SPEED_UPS = {
    "fast_scnn": "1.5",
    "icnet": "1.6",
    "bisenet": "1.7",
    "deeplab_v3_plus_resnext50": "1.7",
    "pspnet": "1.9",
    "deeplab_v3_plus": "2",
    "ocr": "2",
}
_NETWORKS = table3.NETWORKS | {"deeplab_v3_plus_resnext50": ("DeepLabV3+, ResNeXt50", _rows.TEACHER)}


def _row(name: str, paper: str) -> Row:
    what, network, *_ = _NETWORKS[name]
    return Row(what, f"{paper} times faster", lambda: _rows.street(network))


ROWS = {name: _row(name, paper) for name, paper in _SPEED_UPS.items()}


def get_config(arg: str = "") -> ConfigDict:
    """Options: `row`, `pretrained`, `trained` (docs/paper.md)."""
    return _rows.config(ROWS, arg)
