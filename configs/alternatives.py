"""Cityscapes by the paper's other ways of two stages (§3.1.1): `configs/alternatives.py:method=soft`.

The paper's mIoU on Cityscapes' validation images (Table 2: DeepLabV3+ on ResNeXt50, 2,975 masks and 40K unlabelled
images). Hard pseudo labels and a second network, which is csst, have 80.2 there.

* finetuned: 79.2, "Teacher finetuning" (eq. 5). The teacher goes on with real and pseudo labels, at a rate of 0.002.
* soft: 79.6, "Soft pseudo labels" (eq. 6). The three most probable classes and their probabilities are stored.
* model_regulariser: 79.1, "Model regularizer" (eq. 7). The paper gives no weight. This is CRST's code: the mean over
  classes, by 0.1.
* model_regulariser_sum: the same as eq. 7 is written: the sum over classes, by 1.
* csst: 80.2, "Ours" (eq. 3).

Consistency regularisation (eq. 4) has one stage: `configs/one_stage.py:method=consistency`.
"""

from ml_collections import ConfigDict

from configs import base, cityscapes

_METHODS = ("finetuned", "soft", "model_regulariser", "model_regulariser_sum", "csst")
FINETUNING_RATE = 0.002
"""§4.2."""


def get_config(arg: str = "") -> ConfigDict:
    """A run of teacher, labels and student.

    Options: `method` (finetuned, soft, model_regulariser, model_regulariser_sum, csst); `net`, `pretrained` and `pool`
    (none, coarse, mapillary, bdd100k) as in configs/cityscapes.py.
    """
    options = base.options(arg, method="soft", net="deeplab_v3_plus_resnext50_32x4d", pretrained="", pool="mapillary")
    method = base.one_of("method", options.pop("method"), {name: name for name in _METHODS})
    c = cityscapes.get_config(",".join(f"{name}={value}" for name, value in options.items()))
    return changed(c, method)


def changed(c: ConfigDict, method: str) -> ConfigDict:
    """The configuration of the paper's own pipeline, by another method."""
    if method == "finetuned":
        c.finetune_teacher, c.student.lr.base = True, FINETUNING_RATE
    if method == "soft":
        c.label.soft.k = 3
    if method.startswith("model_regulariser"):
        c.student.method.name = "model_regulariser"
    if method == "model_regulariser_sum":
        c.student.method.model_regulariser = ConfigDict({"weight": 1.0, "over_classes": "sum"})
    return c
