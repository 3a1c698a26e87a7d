"""The whole pipeline on the embedded data set (`data_prep/synthetic.py`), sized for two CPU cores and a few minutes."""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """12 masks, 150 unlabelled images, 40 for validation; FastSCNN teacher and student."""
    c = base.get_config()
    c.data.dir = "data/synthetic"
    for stage in (c.teacher, c.student):
        stage.crop_px = 224
        stage.batch_size = 8
        stage.schedule.num_sizes = 3
        stage.lr.base = 0.05
    c.teacher.epochs = 20
    c.teacher.samples_per_epoch = 96
    c.student.epochs = 40
    c.checkpoint.every_s = 60.0
    return c
