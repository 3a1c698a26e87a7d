"""The paper's Table 1a on CamVid: do pseudo labels pay, and does centroid sampling?

Teacher and student, with and without centroid sampling, with 46, 92 and 184 of the 367 masks. The paper has one number
of masks and several pools: 78.1 and 78.8 for the teacher on Cityscapes, 78.8 and 80.2 for the student. Teacher and
student take as many steps, so that the teacher's row is that of masks alone. The page has each class's share of the
crops as well: what centroid sampling changes, and where it cannot change anything.
"""

from configs.studies import _small
from csst_jax.studying import class_shares
from csst_jax.studying.arms import Arm, Study

STEPS = 600


def get_study() -> Study:
    """Six arms, of which each takes nine minutes of one core a seed."""
    settings = _small.both(_small.TRAINING | _small.steps(STEPS)) | _small.PREDICTION | _small.PAPER
    arms = [
        Arm(f"{fraction} {sampler}", settings, f"camvid:fraction={option},sampler={sampler}", ("teacher", "student"))
        for fraction, option in _small.FRACTIONS.items()
        for sampler in ("centroid", "uniform")
    ]
    return Study(
        "Pseudo labels and centroid sampling on CamVid (Table 1a)",
        "camvid",
        tuple(arms),
        about=f"Teacher and student take {STEPS} steps each.",
        prepare=class_shares.note,
    )
