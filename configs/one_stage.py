"""Cityscapes by methods of one stage: `configs/one_stage.py:method=unimatch,net=deeplab_v3_plus_resnet101`.

Published mIoU on Cityscapes' validation images, for comparison with the paper's 80.2 (Table 1a, DeepLabV3+ on
ResNeXt50, all 2,975 masks) and with each other. By share of the masks: 1/16, 1/8, 1/4, 1/2; data.labelled_ids chooses
them. All are DeepLabV3+ on ResNet101 but where another network is named.

* consistency: 78.9 with all masks (the paper's Table 2, "Consistency regularization"; ResNeXt50).
* fixmatch: `consistency` with CutMix, by the recipe of UniMatch's authors (`fixmatch.py`). For Cityscapes they set its
  threshold to 0, as UniMatch's.
* unimatch: 76.6, 77.9, 79.2, 79.5 (the authors' README).
* unimatch_v2: 83.6, 84.3, 84.5, 85.1 with a DPT head on DINOv2-B (the authors' README). It takes AdamW there.
* u2pl: 74.9, 76.5, 78.5, 79.1 (the authors' paper, arXiv:2203.03884).
* cps: the authors publish a recipe and no table beside their paper's.
* corrmatch: 77.3, 78.5, 79.4, 80.4 (the authors' paper, arXiv:2306.04300).
* cct, dst_cbc, pseudoseg, hlcon: 71.9, 72.8, 72.9, 73.2 with all masks, 40K unlabelled images and DeepLabV2 on
  ResNet101 (the paper's Table 7; configs/paper/table7.py has these rows).
* mean_teacher, freematch: no published recipe for segmentation.

FixMatch, UniMatch, CorrMatch, CPS and U2PL have their authors' recipes: learning rate, decay, crop, length, batch,
OHEM, uniformly drawn images, and a weak view without jitter and blur. The strong view's blur is the paper's teacher's
(sigma from 0.15 to 1.3); UniMatch and CorrMatch draw a sigma from 0.1 to 2.0. The other methods take the paper's recipe
(§4.2).

Some numbers look other than in the authors' files, and give the authors' steps:

* CPS (TorchSemiSeg 5e0c29c, `train.py`) divides its losses by the number of processes, and gradients are averaged over
  them once more. With 8 processes, its rate of 0.04 and decay of 1e-4 are 0.005 and 8e-4.
* U2PL (ab3d2be, `train_semi.py`) does so with the contrastive loss alone, with 8 processes.
* FixMatch halves its loss. Half of the rate and twice the decay are the same.
* OHEM keeps at least a number of the pixels of two crops, those of a process. Here it is their share.
"""

import dataclasses

from ml_collections import ConfigDict

from configs import _methods, base

# An epoch of the authors is once over the unlabelled images, with as many labelled crops: 5,206 crops at 1/8.
_CROPS = 5206
_PROCESSES = 8  # of CPS and U2PL


@dataclasses.dataclass(frozen=True)
class _Recipe:
    """The authors' for Cityscapes.

    Attributes:
      rate: learning rate.
      crop_px: side of a crop.
      epochs: length.
      crops: labelled and unlabelled ones of a step.
      kept: pixels of two crops that OHEM keeps at least.
      weight_decay: of SGD.
    """

    rate: float
    crop_px: int
    epochs: int
    crops: int
    kept: int
    weight_decay: float = 1e-4


_RECIPES = {
    "fixmatch": _Recipe(0.005 / 2, 801, 240, 16, 200_000, 1e-4 * 2),
    "unimatch": _Recipe(0.005, 801, 240, 16, 200_000),
    "cps": _Recipe(0.04 / _PROCESSES, 800, 137, 32, 100_000, 1e-4 * _PROCESSES),
    "u2pl": _Recipe(0.01, 769, 200, 32, 100_000, 5e-4),
    "corrmatch": _Recipe(0.005, 801, 240, 16, 100_000),
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
        c.teacher.method.consistency.cutmix = 0.5
    if method == "unimatch":
        c.teacher.method.unimatch.confidence_threshold = 0.0  # the authors' for Cityscapes
    if method == "hlcon":
        c.teacher.method.hlcon.update(_methods.HLCON_CITYSCAPES)
    if method == "u2pl":
        c.teacher.method.u2pl.contrast_weight = 1 / _PROCESSES
    if method == "cps":
        c.teacher.optimizer.decay_factors = ((r"\.(bias|scale)$", 0.0),)
    if method in _RECIPES:
        recipe = _RECIPES[method]
        c.teacher.lr.base, c.teacher.optimizer.sgd.weight_decay = recipe.rate, recipe.weight_decay
        c.teacher.crop_px, c.teacher.epochs, c.teacher.batch_size = recipe.crop_px, recipe.epochs, recipe.crops
        c.teacher.loss.ohem_min_kept = recipe.kept / (2 * recipe.crop_px**2)
        c.teacher.samples_per_epoch = _CROPS
        c.teacher.schedule.kind, c.teacher.lr.per = "constant", "step"
        c.teacher.sampler.name = "uniform"
        c.teacher.augment.jitter = c.teacher.augment.blur = 0.0
    return c
