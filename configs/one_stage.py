"""Cityscapes by methods of one stage: `configs/one_stage.py:method=unimatch,net=deeplab_v3_plus_resnet101`.

Published mIoU on Cityscapes' validation images, for comparison with the paper's 80.2 (Table 1a, DeepLabV3+ on
ResNeXt50, all 2,975 masks) and with each other. By share of the masks: 1/16, 1/8, 1/4, 1/2; data.labelled_ids chooses
them. All are DeepLabV3+ on ResNet101 but where another network is named.

* consistency: 78.9 with all masks (the paper's Table 2, "Consistency regularization"; ResNeXt50).
* fixmatch: `consistency` with a threshold and CutMix, UniMatch's baseline.
* unimatch: 76.6, 77.9, 79.2, 79.5 (the authors' README).
* unimatch_v2: 83.6, 84.3, 84.5, 85.1 with a DPT head on DINOv2-B (the authors' README). It takes AdamW there.
* u2pl: 74.9, 76.5, 78.5, 79.1 (the authors' paper, arXiv:2203.03884).
* cps: the authors publish a recipe and no table beside their paper's.
* corrmatch: 77.3, 78.5, 79.4, 80.4 (the authors' paper, arXiv:2306.04300).
* cct, dst_cbc, pseudoseg, hlcon: 71.9, 72.8, 72.9, 73.2 with all masks, 40K unlabelled images and DeepLabV2 on
  ResNet101 (the paper's Table 7; configs/paper/table7.py has these rows).
* mean_teacher, freematch: no published recipe for segmentation.

UniMatch's recipe, CorrMatch's, CPS's and U2PL's hold for their methods: learning rate, crop, length, batch, uniformly
drawn images, and a weak view without jitter and blur. The strong view's blur is the paper's teacher's (sigma from 0.15
to 1.3); UniMatch and CorrMatch draw a sigma from 0.1 to 2.0. The other methods take the paper's recipe (§4.2).
"""

from ml_collections import ConfigDict

from configs import _methods, base

# An epoch of the authors is once over the unlabelled images, with as many labelled crops: 5,206 crops at 1/8.
_CROPS = 5206
_RECIPES = {  # method: learning rate, crop, epochs, labelled and unlabelled crops per step
    "unimatch": (0.005, 801, 240, 16),
    "cps": (0.04, 800, 137, 32),
    "u2pl": (0.01, 769, 200, 32),
    "corrmatch": (0.005, 801, 240, 16),
}
_METHODS = (
    *("consistency", "fixmatch", "unimatch", "unimatch_v2", "cps", "mean_teacher", "freematch"),
    *("cct", "u2pl", "pseudoseg", "hlcon", "dst_cbc", "corrmatch"),
)


def get_config(arg: str = "") -> ConfigDict:
    """A run of one stage, named teacher.

    Options: `method` (consistency, fixmatch, unimatch, unimatch_v2, cps, mean_teacher, freematch, cct, u2pl, pseudoseg,
    hlcon, dst_cbc, corrmatch), `net`, `pretrained` (of `net`).
    """
    options = base.options(arg, method="unimatch", net="deeplab_v3_plus_resnet101", pretrained="")
    method = base.one_of("method", options["method"], {name: name for name in _METHODS})
    c = base.get_config()
    c.stages = "teacher,evaluate"
    c.data.dir = "data/cityscapes"
    base.choose_networks(c, options["net"], "", options["pretrained"])
    c.teacher.method.name = "consistency" if method == "fixmatch" else method
    if method == "fixmatch":
        c.teacher.method.consistency = ConfigDict({"confidence_threshold": 0.95, "weight": 1.0, "cutmix": 0.5})
    if method == "unimatch":
        c.teacher.method.unimatch.confidence_threshold = 0.0  # the authors' for Cityscapes
    if method == "hlcon":
        c.teacher.method.hlcon.update(_methods.HLCON_CITYSCAPES)
    if method == "u2pl":
        c.teacher.optimizer.sgd.weight_decay = 5e-4
    if method in _RECIPES:
        c.teacher.lr.base, c.teacher.crop_px, c.teacher.epochs, c.teacher.batch_size = _RECIPES[method]
        c.teacher.samples_per_epoch = _CROPS
        c.teacher.schedule.kind, c.teacher.lr.per = "constant", "step"
        c.teacher.sampler.name = "uniform"
        c.teacher.augment.jitter = c.teacher.augment.blur = 0.0
    return c
