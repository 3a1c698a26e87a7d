"""The paper's Table 4 on CamVid: five schedules of the crop's size for the student, against the full crop throughout.

The paper reports that coarse2fine+ is 1.7 times faster at the same mIoU. All students learn from one teacher a seed,
and from the same pseudo labels. The full crop is 320 px of the image's 360. Sizes are multiples of the network's stride
of 32: 160, 192, 224, 256, 288 and 320, the same shares of the full crop as the paper's 400 to 800. One more row of
coarse2fine+ begins at three quarters of the full crop. The last rows have a full crop of 224 px: sizes of 128, 160, 192
and 224.
"""

from typing import Any

from configs.studies import _small
from csst_jax.schedules.crops import KINDS
from csst_jax.studying.arms import Arm, Study

CROP_PX, SMALLER_CROP_PX, STEPS = 320, 224, 600
FASTEST = "coarse2fine+"
"""In the paper, at the same mIoU as the full crop throughout."""


def get_study() -> Study:
    """One arm for each schedule and size of the full crop; a seed of all takes three hours of one core."""
    training = _small.TRAINING | _small.steps(STEPS)
    settings = _small.both(training) | _small.PREDICTION
    kinds: dict[str, dict[str, Any]] = {kind: {"student.schedule.kind": kind} for kind in KINDS}
    kinds[f"{FASTEST} from 3/4"] = kinds[FASTEST] | {"student.schedule.smallest_share": 0.75}

    def arm(kind: str, crop_px: int, of_size: str) -> Arm:
        changes = settings | kinds[kind] | {"student.crop_px": crop_px}
        reference = "" if kind == "constant" else f"constant{of_size}"
        return Arm(f"{kind}{of_size}", changes, networks=("student",), reference=reference)

    smaller = ("constant", FASTEST, f"{FASTEST} from 3/4")
    return Study(
        "Schedules of the student's crops on CamVid (Table 4)",
        "camvid:fraction=1_8",
        (
            *(arm(kind, CROP_PX, "") for kind in kinds),
            *(arm(kind, SMALLER_CROP_PX, f" up to {SMALLER_CROP_PX} px") for kind in smaller),
        ),
        about="The schedules take as many crops in fewer, larger or smaller steps; compare the minutes of training.",
    )
