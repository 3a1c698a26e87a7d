"""Mapillary Vistas (`data_prep/mapillary.py`): `configs/mapillary.py:net=bisenet_resnet18`.

The paper's settings for it are Cityscapes' (§4.2: 180 epochs, crops of 800). All of its training images have masks:
name fewer in data.labelled_ids, or join images in data.more_unlabelled.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Options: `net` (of the teacher), `student` (its network; `net` by default), `pretrained` (weights for `net`)."""
    options = base.options(arg, net="deeplab_v3_plus_resnext50_32x4d", student="", pretrained="")
    c = base.get_config()
    c.data.dir = "data/mapillary_v1_2"
    base.choose_networks(c, **options)
    return c
