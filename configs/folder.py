"""Your own folder of images and masks, prepared by `data_prep/folder.py`: `configs/folder.py:net=fast_scnn`.

With pretrained weights (`configs/folder.py:net=NAME,pretrained=FILE`, see docs/networks.md) few masks go further.

`--config.data.dir=DIR` names the prepared data set. The paper's recipe for small data sets (§4.2, PASCAL VOC: crops of
480); set `crop_px` to what your images allow and the devices hold. With fewer than a few hundred masks raise
`teacher.samples_per_epoch`: a network that starts from random weights needs steps (configs/camvid.py takes four crops
of each of 46 images an epoch).
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Options: `net` (of the teacher), `student` (its network; `net` by default), `pretrained` (weights for `net`)."""
    options = base.options(arg, net="fast_scnn", student="", pretrained="")
    c = base.get_config()
    base.choose_networks(c, **options)
    for stage in (c.teacher, c.student):
        stage.epochs = 90
        stage.crop_px = 480
    base.expect_weak_teacher(c)
    return c
