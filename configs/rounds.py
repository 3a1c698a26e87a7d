"""The paper's recipe for Cityscapes in four rounds, with CBST's portions: `configs/rounds.py:student=fast_scnn`.

The most confident 20 % of each class's pixels keep their label in the first round, and 5 % more in each later round.
These are the portions and the rounds of yzou2/CRST f7e4df0, after Zou et al. (ECCV 2018 and ICCV 2019). Its README
reports 47.39 mIoU from GTA5 to Cityscapes, where the target has no mask: a figure of another task. There one network is
trained on for two epochs in each round; here each student begins anew. The paper has one round and all pixels, with
80.2 mIoU (Table 1a).
"""

from ml_collections import ConfigDict

from configs import cityscapes


def get_config(arg: str = "") -> ConfigDict:
    """Options: `net`, `student`, `pretrained` and `pool`, as in configs/cityscapes.py."""
    return with_portions(cityscapes.get_config(arg))


def with_portions(c: ConfigDict) -> ConfigDict:
    """Four rounds with CBST's portions."""
    c.rounds, c.label.class_portion, c.label.class_portion_growth = 4, 0.2, 0.05
    return c
