"""Your own folder of images and masks, prepared by `data_prep/folder.py`: `configs/folder.py`.

Teacher and student are light FPNs that start from ImageNet weights, with the recipe for few masks. Other networks:
`configs/folder.py:net=NAME,pretrained=FILE` (docs/networks.md).

`--config.data.dir=DIR` names the prepared data set. Crops, batches and the length of an epoch are chosen from its
images and from the machine; the run says what was chosen. Two cores then train for about an hour on images of 480x360,
and for two hours on larger photos (an estimate). For a better result train longer (`--config.teacher.epochs=180
--config.student.epochs=180`), or set any size.
"""

from ml_collections import ConfigDict

from configs import base
from configs._few_masks import few_masks
from csst_jax.settings.sizes import OPEN


def get_config(arg: str = "") -> ConfigDict:
    """Options: `net` (of the teacher), `student` (its network; `net` by default), `pretrained` (weights for `net`)."""
    options = base.options(arg, net="", student="", pretrained="")
    c = base.get_config()
    few_masks(c, **options)
    for stage in (c.teacher, c.student):
        stage.epochs = 90
        stage.crop_px = stage.batch_size = stage.samples_per_epoch = OPEN
        if stage.schedule.kind != "constant":
            stage.schedule.num_sizes = OPEN
    return c
