"""The paper's Table 1b on CamVid: is it only the longer training? Real labels repeated to the student's steps.

In `table1a`, teacher and student take 600 steps each. `repeated` takes as many as both together with the masks alone:
an epoch has each mask twice as often, as in the paper.
"""

from configs.studies import _small, table1a
from csst_jax.studying.arms import Arm, Study


def get_study() -> Study:
    """Twelve arms; the three pairs of a sampler take half an hour of one core a seed."""
    alone = _small.both(_small.TRAINING | _small.steps(table1a.STEPS)) | _small.PREDICTION
    alone["stages"] = "teacher,evaluate"
    repeated = alone | {"teacher.samples_per_epoch": 2 * _small.CROPS_AN_EPOCH}
    arms = []
    for fraction, option in _small.FRACTIONS.items():
        for sampler in ("centroid", "uniform"):
            name, config = f"{fraction} {sampler}", f"camvid:fraction={option},sampler={sampler}"
            arms.append(Arm(name, alone, config))
            arms.append(Arm(f"{name} repeated", repeated, config, reference=name))
    return Study(
        "Real labels repeated on CamVid (Table 1b)",
        "camvid",
        tuple(arms),
        about=f"Masks alone for {table1a.STEPS} steps, and for twice as many. Students are in the study table1a.",
    )
