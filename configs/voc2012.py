"""PASCAL VOC 2012 (`data_prep/voc2012.py`) as in the paper (§4.2, §4.5): `configs/voc2012.py:net=pspnet_resnet101`.

1,464 masks, and 9,118 images without where the data set was prepared with the augmented list. The paper starts from
ImageNet weights: give them as `pretrained` (docs/networks.md).
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Options: `net` (of the teacher), `student` (its network; `net` by default), `pretrained` (weights for `net`)."""
    options = base.options(arg, net="pspnet_resnet101", student="", pretrained="")
    c = base.get_config()
    c.data.dir = "data/voc2012"
    base.choose_networks(c, **options)
    for stage in (c.teacher, c.student):
        stage.epochs = 50
        stage.crop_px = 480
    return c
