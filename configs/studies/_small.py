"""Settings of the studies on CamVid: what one core trains in minutes."""

from collections.abc import Mapping
from typing import Any

BATCH, CROPS_AN_EPOCH = 8, 400
FRACTIONS = {"1/8": "1_8", "1/4": "1_4", "1/2": "1_2"}
"""Of CamVid's 367 masks."""

# A step of 8 crops of 160 px of the light FPN takes a third of a second of one core.
TRAINING = {
    "batch_size": BATCH,
    "crop_px": 160,
    "samples_per_epoch": CROPS_AN_EPOCH,
    "schedule.kind": "constant",
    "lr.base": 0.02,
    "lr.per": "step",
    "loss.ohem": False,
    "augment.blur": 0.0,
}
"""Of a stage: what an earlier probe and docs/results/recipe.md have, with nothing chosen on CamVid's val."""
PREDICTION = {"label.pad_px": 32, "evaluate.pad_px": 32, "evaluate.boundary_ratio": 0.0, "evaluate.every_epochs": 0}
# The paper's labels and student: every pixel has a label, and real and pseudo labels are one set.
PAPER = {
    "student.method.name": "supervised",
    "label.class_portion": 0.0,
    "label.lower_of_two": False,
    "label.flip": False,
}


def both(training: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a stage, for teacher and student."""
    return {f"{stage}.{key}": value for stage in ("teacher", "student") for key, value in training.items()}


def steps(count: int) -> dict[str, Any]:
    """So many steps of `BATCH` crops, of a stage."""
    return {"epochs": count * BATCH // CROPS_AN_EPOCH}
