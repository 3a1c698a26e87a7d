"""The paper's Table 3 on CamVid: one teacher, three fast students, each against masks alone for as many steps.

The teacher is a light FPN from ImageNet weights, and has 46 masks. FastSCNN, BiSeNet on ResNet18 and ICNet start from
random weights, as in the paper only FastSCNN does. On Cityscapes they gain 3.9, 3.5 and 4.4 points there. Half of a
student's crops are real, so that masks alone with as many crops has twice as many real ones.
"""

from configs._few_masks import NETWORK
from configs.studies import _small
from csst_jax.studying.arms import Arm, Study

STUDENTS = {"FastSCNN": "fast_scnn", "BiSeNet-R18": "bisenet_resnet18", "ICNet": "icnet_resnet50"}
TEACHER_STEPS, STEPS = 600, 1500


def get_study() -> Study:
    """Six arms; those of FastSCNN take 20 minutes of one core a seed, the others longer."""
    training = _small.both(_small.TRAINING) | _small.PREDICTION
    longer = _small.steps(STEPS)
    arms = []
    for name, network in STUDENTS.items():
        own = {"network": network, "pretrained": "", "lr.base": 0.05} | longer
        alone = training | {f"teacher.{key}": value for key, value in own.items()} | {"stages": "teacher,evaluate"}
        student = training | {f"student.{key}": value for key, value in own.items()}
        student |= {f"teacher.{key}": value for key, value in _small.steps(TEACHER_STEPS).items()}
        student |= {"teacher.network": NETWORK, "teacher.pretrained": "imagenet"}
        arms.append(Arm(f"{name} alone", alone))
        arms.append(Arm(f"{name} with CSST", student, networks=("student",), reference=f"{name} alone"))
    return Study(
        "One teacher and three students on CamVid (Table 3)",
        "camvid:fraction=1_8",
        tuple(arms),
        about=f"46 masks. All rows take {STEPS:,} steps of {_small.BATCH} crops; the teacher {TEACHER_STEPS}.",
    )
