"""Table 9. PASCAL VOC 2012's test set (§4.5): `paper/table9:row=pspnet_csst`.

1,464 masks, and 9,118 images whose masks CSST does not see. Rows without CSST have these masks, too: prepare them with
`python -m data_prep.voc2012 --aug_masks --data_dir=data/voc2012_aug_masks …`. The paper quotes them; their networks
were fine-tuned on train and val afterwards, which these rows leave out. The evaluation server scores the test set, from
a file that `python -m csst_jax.evaluate` writes ([Scores](scores.md#submissions)).
"""

from ml_collections import ConfigDict

from configs import voc2012
from configs.paper import _rows
from configs.paper._rows import Row

_NETWORKS = {  # row: the paper's name, the network, test alone and with CSST
    "pspnet": ("PSPNet", "pspnet_resnet101", "82.6", "83.1"),
    "deeplab_v3": ("DeepLabV3", "deeplab_v3_resnet101", "82.6", "82.9"),
    "encnet": ("EncNet", "encnet_resnet101", "82.9", "83.3"),
}


def _voc(network: str) -> ConfigDict:
    return _rows.as_published(voc2012.get_config(f"net={network}"))


def _all_masks(network: str) -> ConfigDict:
    c = _rows.alone(_voc(network))
    c.data.dir = "data/voc2012_aug_masks"
    return c


def _rows_of(name: str) -> dict[str, Row]:
    what, network, masks_alone, csst = _NETWORKS[name]
    return {
        name: Row(f"{what}, VOC_TRAIN and VOC_AUG", f"test {masks_alone}", lambda: _all_masks(network)),
        f"{name}_csst": Row(f"{what} + CSST, VOC_TRAIN", f"test {csst}", lambda: _voc(network)),
    }


ROWS = {key: row for name in _NETWORKS for key, row in _rows_of(name).items()}


def get_config(arg: str = "") -> ConfigDict:
    """Options: `row`, `pretrained`, `trained` (docs/paper.md)."""
    return _rows.config(ROWS, arg)
