"""The paper's Table 1 on CamVid: do pseudo labels pay, does centroid sampling, and is it only the longer training?

Table 1a: teacher and student, with and without centroid sampling, with 46, 92 and 184 of the 367 masks (the paper has
one number of masks and several pools: 78.1 and 78.8 for the teacher on Cityscapes, 78.8 and 80.2 for the student).
Table 1b: real labels repeated. Teacher and student take 1,500 steps each, so that the teacher's row is masks alone for
as many steps as the student. `masks repeated` is the stricter control: as many steps as both of them together.
"""

from csst_jax.studying.arms import Arm, Study

FRACTIONS = {"1/8": "1_8", "1/4": "1_4", "1/2": "1_2"}
SAMPLERS = ("centroid", "uniform")
# The paper's student: the union of real and pseudo labels, and every pixel of the pool has a label.
PAPER = {"student.method.name": "supervised", "label.class_portion": 0.0, "label.flip": False}


def get_study() -> Study:
    """Twelve arms, of which each takes a few hours of two cores with three seeds."""
    arms = []
    for fraction, option in FRACTIONS.items():
        for sampler in SAMPLERS:
            config = f"camvid:fraction={option},sampler={sampler}"
            arms.append(Arm(f"{fraction} {sampler}", PAPER, config, ("teacher", "student")))
        for sampler in SAMPLERS:
            config = f"camvid:fraction={option},sampler={sampler}"
            longer = {"stages": "teacher,evaluate", "teacher.epochs": 60}
            arms.append(Arm(f"{fraction} {sampler} masks repeated", longer, config))
    return Study(
        "Masks, pool and centroid sampling on CamVid (Table 1)",
        "camvid",
        tuple(arms),
        about="Teacher and student take as many steps; `masks repeated` takes as many as both together.",
    )
