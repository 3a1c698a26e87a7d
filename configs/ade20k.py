"""ADE20K (`data_prep/ade20k.py`): `configs/ade20k.py:net=bisenet_resnet18`.

The paper has no experiment on it: these are its settings for PASCAL VOC (§4.2: crops of 480), whose images are as
large, with twice the epochs. All of its training images have masks: name fewer in data.labelled_ids, or join images in
data.more_unlabelled.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Options: `net` (of the teacher), `student` (its network; `net` by default), `pretrained` (weights for `net`)."""
    options = base.options(arg, net="deeplab_v3_plus_resnext50_32x4d", student="", pretrained="")
    c = base.get_config()
    c.data.dir = "data/ade20k"
    base.choose_networks(c, **options)
    for stage in (c.teacher, c.student):
        stage.epochs = 100
        stage.crop_px = 480
    return c
