"""The paper's Table 4 on CamVid: five schedules of the crop's size for the student, against the full crop throughout.

The paper reports that coarse2fine+ is 1.7 times faster at the same mIoU. All students learn from one teacher a seed,
and from the same pseudo labels. The full crop is 224 px of the image's 360. Sizes are multiples of the network's stride
of 32: 128, 160, 192 and 224. One more row of coarse2fine+ begins at three quarters of the full crop, with 160.
"""

from typing import Any

from configs.studies import _small
from csst_jax.schedules.crops import KINDS
from csst_jax.studying.arms import Arm, Study

CROP_PX, STEPS = 224, 600


def get_study() -> Study:
    """One arm for each schedule; a seed of all takes an hour of one core."""
    training = _small.TRAINING | _small.steps(STEPS)
    settings = _small.both(training) | _small.PREDICTION | {"student.crop_px": CROP_PX}
    kinds: dict[str, dict[str, Any]] = {kind: {"student.schedule.kind": kind} for kind in KINDS}
    plus = kinds["coarse2fine+"]
    kinds["coarse2fine+ from 3/4"] = plus | {"student.schedule.smallest_share": 0.75}
    arms = tuple(Arm(name, settings | changes, networks=("student",)) for name, changes in kinds.items())
    return Study(
        "Schedules of the student's crops on CamVid (Table 4)",
        "camvid:fraction=1_8",
        arms,
        reference="constant",
        about="The schedules take as many crops in fewer, larger or smaller steps; compare the minutes of training.",
    )
