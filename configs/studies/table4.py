"""The paper's Table 4 on CamVid: five schedules of the crop's size for the student, against the full crop throughout.

The paper reports that coarse2fine+ is 1.7 times faster at the same mIoU. All students learn from one teacher a seed,
and from the same pseudo labels. The full crop is 320 px of the image's 360. Sizes are multiples of the network's stride
of 32: 160, 192, 224, 256, 288 and 320, the same shares of the full crop as the paper's 400 to 800. The last rows have
a full crop of 224 px: sizes of 128, 160, 192 and 224.

The batch grows as crops shrink, so that coarse2fine+ takes fewer steps. More rows of it have what may make up for that:
no crops below three quarters of the full one, a batch that does not grow, or a learning rate that grows with the batch.
"""

from typing import Any

from configs.studies import _small
from csst_jax.schedules.crops import KINDS
from csst_jax.studying.arms import Arm, Study

CROP_PX, SMALLER_CROP_PX, STEPS = 320, 224, 600
FASTEST = "coarse2fine+"
"""In the paper, at the same mIoU as the full crop throughout."""


def get_study() -> Study:
    """One arm for each schedule and size of the full crop; a seed of all takes four hours of one core."""
    training = _small.TRAINING | _small.steps(STEPS)
    settings = _small.both(training) | _small.PREDICTION
    kinds: dict[str, dict[str, Any]] = {kind: {"student.schedule.kind": kind} for kind in KINDS}
    remedies: dict[str, dict[str, Any]] = {
        f"{FASTEST} from 3/4": {"student.schedule.smallest_share": 0.75},
        f"{FASTEST} with one batch size": {"student.schedule.max_batch_factor": 1},
        f"{FASTEST} with a scaled rate": {"student.lr.batch_rule": "linear"},
    }
    kinds |= {name: kinds[FASTEST] | remedy for name, remedy in remedies.items()}

    def arm(kind: str, crop_px: int, of_size: str) -> Arm:
        changes = settings | kinds[kind] | {"student.crop_px": crop_px}
        reference = "" if kind == "constant" else f"constant{of_size}"
        return Arm(f"{kind}{of_size}", changes, networks=("student",), reference=reference)

    smaller = ("constant", FASTEST, *remedies)
    return Study(
        "Schedules of the student's crops on CamVid (Table 4)",
        "camvid:fraction=1_8",
        (
            *(arm(kind, CROP_PX, "") for kind in kinds),
            *(arm(kind, SMALLER_CROP_PX, f" up to {SMALLER_CROP_PX} px") for kind in smaller),
        ),
        about="All students see as many crops, in more or fewer steps. Compare the minutes of training.",
    )
