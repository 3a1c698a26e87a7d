"""ST++ (Yang et al., CVPR 2022): `configs/st_plus_plus.py:data=voc2012,net=deeplab_v3_plus_resnet101`.

A teacher on the masks, a student on these and the reliable half of the pool, and a student on all of it, for which the
first student has labelled the other half. Hyper-parameters are those of the reference implementation
(LiheYoung/ST-PlusPlus f4e7a57): crop, learning rate, scales of labelling, strong augmentation with cutout.

The authors of UniMatch quote these mIoU (README of LiheYoung/UniMatch 0324f3d) for PASCAL VOC 2012 and DeepLabV3+ on
ResNet101, by number of masks: 65.2 (92), 71.0 (183), 74.6 (366), 77.3 (732), 79.1 (1,464). data.labelled_ids names the
masks.

What is other here: the network after the last step labels, where the authors take the best on the validation images. A
step has as many real as pseudo-labelled crops. An epoch has a crop for each image, and students take twice the authors'
epochs: these repeat the masks until there are as many as unlabelled images.
"""

from ml_collections import ConfigDict

from configs import base

_RECIPES = {  # learning rate of the backbone, crop, epochs, scales
    "cityscapes": (0.004, 721, 240, (0.5, 2.0)),
    "voc2012": (0.001, 321, 80, (0.4, 1.6)),  # the longer side is drawn from 200 to 800 px; most images have 500
}


def get_config(arg: str = "") -> ConfigDict:
    """Teacher and two rounds.

    Options: `data` (cityscapes or voc2012), `net`, `pretrained` (of `net`).
    """
    options = base.options(arg, data="cityscapes", net="deeplab_v3_plus_resnet101", pretrained="")
    recipe = base.one_of("data", options["data"], {name: name for name in _RECIPES})
    c = base.get_config()
    c.data.dir = f"data/{recipe}"
    base.choose_networks(c, options["net"], "", options["pretrained"])
    rate, crop_px, epochs, scales = _RECIPES[recipe]
    for stage, times in ((c.teacher, 1), (c.student, 2)):
        stage.crop_px, stage.epochs = crop_px, times * epochs
        stage.lr.base, stage.lr.per = 10 * rate, "step"
        stage.optimizer.rate_factors = (("^backbone", 0.1),)  # all else learns ten times faster
        stage.schedule.kind, stage.sampler.name, stage.loss.ohem = "constant", "uniform", False
        stage.augment.scale_min, stage.augment.scale_max = scales
        stage.augment.jitter = stage.augment.blur = 0.0
    c.student.method.name = "real_and_pseudo"
    c.student.method.real_and_pseudo.update({"cutmix": 0.0, "cutout": 0.5, "real_ohem": False})
    c.label.scales, c.label.flip = (0.5, 0.75, 1.0, 1.5, 2.0), True
    c.rounds, c.label.reliable_share, c.teacher.snapshots = 2, 0.5, 2
    return c
