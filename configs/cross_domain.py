"""From one data set to another with few masks (§4.6), in two or three runs.

1. `configs/cross_domain.py:step=source` trains on the source's masks.
2. `step=self_training,trained=runs/source/teacher` labels the target's images with that network, and trains a student
   on the source's masks and these labels.
3. `step=finetuning,ids=FILE,trained=DIR` goes on from either network with the target's masks that FILE names
   (`python -m data_prep.shots` draws them). Where the target has other classes, this step replaces the classifier.

The paper compares 1 and 3 with 1, 2 and 3. OHEM is off, and crops keep their size. Other settings are §4.2's.
"""

from ml_collections import ConfigDict

from configs import base
from csst_jax.types import CsstError

_STEPS = {name: name for name in ("source", "self_training", "finetuning")}


def get_config(arg: str = "") -> ConfigDict:
    """Configuration of a step.

    Options: `step` (source, self_training, finetuning), `source` and `target` (prepared data sets), `net`, `pretrained`
    (weights that source and self_training start from), `trained` (an earlier step's network), `ids` (file with ids
    of the target's masks; without it all of them).
    """
    options = base.options(
        arg,
        step="source",
        source="data/cityscapes",
        target="data/bdd100k",
        net="deeplab_v3_plus_resnext50_32x4d",
        pretrained="",
        trained="",
        ids="",
    )
    step = base.one_of("step", options["step"], _STEPS)
    c = base.get_config()
    base.choose_networks(c, options["net"], "", options["pretrained"])
    for stage in (c.teacher, c.student):
        stage.loss.ohem = False
        stage.schedule.kind = "constant"
    c.data.dir = options["source"]
    if step == "finetuning":
        if not options["trained"]:
            raise CsstError(
                "step=finetuning starts from a trained network: give trained=DIR, like runs/source/teacher."
            )
        c.data.dir, c.data.labelled_ids = options["target"], options["ids"]
        c.teacher.pretrained, c.teacher.lr.base = options["trained"], 0.002
    if step == "self_training":
        c.data.more_unlabelled = f"{options['target']}:train"
        if options["trained"]:  # labels as it is
            c.teacher.pretrained, c.teacher.epochs = options["trained"], 0
    else:
        c.stages = "teacher,evaluate"
    return c
