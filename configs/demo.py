"""The whole pipeline on generated streets (`data_prep/synthetic.py`), sized for two CPU cores and a few minutes."""

from ml_collections import ConfigDict

from configs import base
from configs._few_masks import few_masks


def get_config() -> ConfigDict:
    """12 masks, 150 unlabelled images, 40 for validation; teacher and student take as many steps."""
    c = base.get_config()
    c.data.dir = "data/synthetic"
    few_masks(c)
    for stage in (c.teacher, c.student):
        stage.crop_px = 192
        stage.batch_size = 8
        stage.samples_per_epoch = 80
        stage.epochs = 50
        stage.precise_bn_steps = 0  # two more compilations would take most of a minute
    c.label.lower_of_two = False  # five seeds were measured without (docs/results/recipe.md)
    c.checkpoint.every_s = 60.0
    return c
