"""CamVid's original release (`data_prep/camvid.py`, 960x720) as in the paper (§4.2, §4.4).

DeepLabV2 with ResNet101 on 367 masks; the pool is the 40K images of Cityscapes and Mapillary. The paper starts from
ImageNet weights: give them as `pretrained` (docs/networks.md). `configs/camvid.py` is for the SegNet tutorial's files
and small machines.
"""

from ml_collections import ConfigDict

from configs import base

_POOLS = {
    "none": "",
    "mapillary": "data/cityscapes:train_extra,data/mapillary_v1_2:train,data/mapillary_v1_2:val",
}


def get_config(arg: str = "") -> ConfigDict:
    """CamVid's configuration.

    Options: `net` (of the teacher), `student` (its network; `net` by default), `pretrained` (weights for `net`), `pool`
    (unlabelled images: mapillary for Cityscapes' coarse ones and Mapillary's, or none beside masks that
    data.labelled_ids leaves out).
    """
    options = base.options(arg, net="deeplab_v2_resnet101", student="", pretrained="", pool="mapillary")
    c = base.get_config()
    c.data.dir = "data/camvid_full"
    c.data.more_unlabelled = base.one_of("pool", options.pop("pool"), _POOLS)
    base.choose_networks(c, **options)
    for stage in (c.teacher, c.student):
        stage.epochs = 90
        stage.crop_px = 640
    return c
