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
    c.student.epochs = 80
    # A teacher of 12 masks misses most poles and pedestrians, and is unsure where it does. Labelled as what is behind
    # them, they would teach the student not to see them: void is better, and half of each class's crops from real
    # masks.
    c.label.flip = True
    c.label.confidence_threshold = 0.5
    c.student.sampler.real_share = 0.5
    c.checkpoint.every_s = 60.0
    return c
