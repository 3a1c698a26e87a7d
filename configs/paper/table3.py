"""Table 3. One teacher, six students (§4.3.4): `paper/table3:row=bisenet_csst`.

The teacher is DeepLabV3+ on ResNeXt50 (`paper/table1:row=teacher_cs`: give its network as `trained`). Every student is
compared with the same network on the 3K masks alone. Settings are Table 6's.
"""

from ml_collections import ConfigDict

from configs.paper import _rows
from configs.paper._rows import Row

NETWORKS = {  # row: the paper's name, the network, val and test alone, val and test with CSST
    "pspnet": ("PSPNet, ResNet101", "pspnet_resnet101", ("77.9", "80.2"), ("79.9", "81.9")),
    "deeplab_v3_plus": (
        "DeepLabV3+, WideResNet38",
        "deeplab_v3_plus_wide_resnet38",
        ("80.5", "80.8"),
        ("82.2", "83.3"),
    ),
    "ocr": ("OCR, HRNet-W48", "ocr_hrnet_w48", ("82.7", "81.8"), ("84.1", "83.8")),
    "icnet": ("ICNet, ResNet50", "icnet_resnet50", ("70.5", "69.5"), ("74.9", "74.5")),
    "bisenet": ("BiSeNet, ResNet18", "bisenet_resnet18", ("74.8", "74.7"), ("78.3", "77.1")),
    "fast_scnn": ("FastSCNN", "fast_scnn", ("68.6", "68.0"), ("72.5", "72.3")),
}


def _rows_of(name: str) -> dict[str, Row]:
    what, network, masks_alone, csst = NETWORKS[name]
    return {
        name: Row(what, "val {}, test {}".format(*masks_alone), lambda: _rows.street_alone(network)),
        f"{name}_csst": Row(f"{what}, with CSST", "val {}, test {}".format(*csst), lambda: _rows.street(network)),
    }


ROWS = {key: row for name in NETWORKS for key, row in _rows_of(name).items()}


def get_config(arg: str = "") -> ConfigDict:
    """Options: `row`, `pretrained`, `trained` (docs/paper.md)."""
    return _rows.config(ROWS, arg)
