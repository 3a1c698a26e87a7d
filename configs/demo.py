"""The whole pipeline on the embedded data set (`data_prep/synthetic.py`), sized for two CPU cores and a few minutes."""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """12 masks, 150 unlabelled images, 40 for validation; FastSCNN as teacher and student, both from random weights."""
    c = base.get_config()
    c.data.dir = "data/synthetic"
    for stage in (c.teacher, c.student):
        stage.crop_px = 192
        stage.batch_size = 4
        stage.schedule.num_sizes = 3  # each size is a program to compile: 96, 128 and 192 px
        stage.lr.base = 0.05
    # Eight crops of each of 12 images an epoch: a network that starts from random weights needs steps.
    c.teacher.epochs = 60
    c.teacher.samples_per_epoch = 96
    c.student.epochs = 110
    base.expect_weak_teacher(c)
    c.checkpoint.every_s = 60.0
    return c
