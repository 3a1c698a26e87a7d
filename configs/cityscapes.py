"""Cityscapes (`data_prep/cityscapes.py`) as in the paper: `configs/cityscapes.py:student=fast_scnn,pool=coarse`.

The teacher is DeepLabV3+ with ResNeXt50 (§4.3.1) on the 2,975 fine masks. The paper starts from ImageNet weights: give
them as `pretrained` (docs/networks.md). Table 6 has settings of their own for some networks; the others take §4.2's.
"""

from ml_collections import ConfigDict

from configs import base

# Prepared data sets: the 20K coarse images; with Mapillary's, 40K (Table 1; the paper does not say which of its 25,000
# images these are: we take train and val); BDD100K's for §4.6.1.
_COARSE = "data/cityscapes:train_extra"
_POOLS = {
    "none": "",
    "coarse": _COARSE,
    "mapillary": f"{_COARSE},data/mapillary_v1_2:train,data/mapillary_v1_2:val",
    "bdd100k": "data/bdd100k:train",
}

_TABLE_6 = {  # network: learning rate, weight decay, crop, epochs, batch
    "fast_scnn": (0.045, 4e-5, 1024, 1000, 16),
    "icnet_resnet50": (0.01, 1e-4, 769, 120, 16),
    "bisenet_resnet18": (0.025, 1e-4, 1024, 120, 16),
    "pspnet_resnet101": (0.01, 1e-4, 769, 180, 16),
    "deeplab_v3_plus_wide_resnet38": (0.02, 1e-4, 800, 180, 8),
    "ocr_hrnet_w48": (0.01, 5e-4, 769, 180, 8),
}


def get_config(arg: str = "") -> ConfigDict:
    """Cityscapes' configuration.

    Options: `net` (of the teacher), `student` (its network; `net` by default), `pretrained` (weights for `net`), `pool`
    (unlabelled images: coarse, mapillary for coarse and Mapillary's, bdd100k, or none beside masks that
    data.labelled_ids leaves out).
    """
    options = base.options(arg, net="deeplab_v3_plus_resnext50_32x4d", student="", pretrained="", pool="coarse")
    c = base.get_config()
    c.data.dir = "data/cityscapes"
    c.data.more_unlabelled = base.one_of("pool", options.pop("pool"), _POOLS)
    base.choose_networks(c, **options)
    for stage in (c.teacher, c.student):
        if stage.network in _TABLE_6:
            rate, decay, stage.crop_px, stage.epochs, stage.batch_size = _TABLE_6[stage.network]
            stage.lr.base, stage.optimizer.sgd.weight_decay = rate, decay
    return c
