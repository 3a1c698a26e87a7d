"""Your own folder of images and masks, prepared by `data_prep/folder.py`: `configs/folder.py:net=fast_scnn`.

With pretrained weights (`configs/folder.py:net=NAME,pretrained=FILE`, see docs/networks.md) few masks go further.

`--config.data.dir=DIR` names the prepared data set. Crops, batches and the length of an epoch are chosen from its
images and from the machine, so that two cores come to a first result in a quarter of an hour; the run says what was
chosen. For a better result train longer (`--config.teacher.epochs=180 --config.student.epochs=180`), or set any size.
"""

from ml_collections import ConfigDict

from configs import base
from csst_jax.settings.sizes import OPEN


def get_config(arg: str = "") -> ConfigDict:
    """Options: `net` (of the teacher), `student` (its network; `net` by default), `pretrained` (weights for `net`)."""
    options = base.options(arg, net="fast_scnn", student="", pretrained="")
    c = base.get_config()
    base.choose_networks(c, **options)
    for stage in (c.teacher, c.student):
        stage.epochs = 90
        stage.crop_px = stage.batch_size = stage.schedule.num_sizes = stage.samples_per_epoch = OPEN
        if not stage.pretrained:
            stage.lr.base = 0.05  # as configs/camvid.py has it from random weights
    base.expect_weak_teacher(c)
    return c
