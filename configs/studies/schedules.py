"""The paper's Table 4 on CamVid: five schedules of the crop's size for the student, against the full crop throughout.

The paper reports that coarse2fine+ is 1.7 times faster at the same mIoU. All students learn from one teacher a seed,
and from the same pseudo labels.
"""

from csst_jax.schedules.crops import KINDS
from csst_jax.studying.arms import Arm, Study


def get_study() -> Study:
    """One arm for each schedule."""
    arms = tuple(Arm(kind, {"student.schedule.kind": kind}, networks=("student",)) for kind in KINDS)
    return Study(
        "Schedules of the student's crops on CamVid (Table 4)",
        "camvid:fraction=1_8",
        arms,
        reference="constant",
        about="The schedules take as many crops in fewer, larger or smaller steps; compare the minutes of training.",
    )
