"""Table 6. Settings of each network (§4.3.5): `paper/table6:row=fast_scnn`.

The table has settings and no results. A row trains its network with them on Cityscapes' 3K masks alone, as Table 3's
row of the same name does.
"""

from ml_collections import ConfigDict

from configs.paper import _rows, table3
from configs.paper._rows import Row

_SETTINGS = {
    "fast_scnn": "rate 0.045, decay 4e-5, crop 1024, 1000 epochs, batch 16",
    "icnet": "rate 0.01, decay 1e-4, crop 769, 120 epochs, batch 16",
    "bisenet": "rate 0.025, decay 1e-4, crop 1024, 120 epochs, batch 16",
    "pspnet": "rate 0.01, decay 1e-4, crop 769, 180 epochs, batch 16",
    "deeplab_v3_plus": "rate 0.02, decay 1e-4, crop 800, 180 epochs, batch 8",
    "ocr": "rate 0.01, decay 5e-4, crop 769, 180 epochs, batch 8",
}


def _row(name: str, paper: str) -> Row:
    what, network, *_ = table3.NETWORKS[name]
    return Row(what, paper, lambda: _rows.street_alone(network), f"The run is `paper/table3:row={name}`.")


ROWS = {name: _row(name, paper) for name, paper in _SETTINGS.items()}


def get_config(arg: str = "") -> ConfigDict:
    """Options: `row`, `pretrained`, `trained` (docs/paper.md)."""
    return _rows.config(ROWS, arg)
