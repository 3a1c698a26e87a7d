"""The highest mIoU that one network reaches on CamVid's val at 480x360, with 367 and with 46 masks.

Settings are fixed in advance, and nothing is tuned on val, whose images are near-duplicates of training images. Scores
are averages over three scales and mirror images. With 46 masks the recipe for few masks makes a student
(docs/results/recipe.md). For orientation, on the test split and mostly larger images: SegNet 60.1, ICNet 67.1,
BiSeNet-R18 68.7, DeepLabV2-R101 63.4, and 69.6 with the paper's CSST.
"""

from configs.studies import _small
from csst_jax.studying.arms import Arm, Study

CROP_PX, STEPS, STEPS_FEW = 288, 5000, 2500


def get_study() -> Study:
    """Two arms of one seed: four hours of two cores together, which is eight core hours."""
    training = _small.TRAINING | {"crop_px": CROP_PX}
    settings = _small.PREDICTION | {"evaluate.scales": (0.75, 1.0, 1.5), "evaluate.flip": True}
    every = settings | {"stages": "teacher,evaluate"} | _small.both(training | _small.steps(STEPS))
    few = settings | _small.both(training | _small.steps(STEPS_FEW))
    few |= {"student.batch_size": 2 * _small.BATCH, "student.samples_per_epoch": 2 * _small.CROPS_AN_EPOCH}
    return Study(
        "The highest score on CamVid's val",
        "camvid",
        (
            Arm("367 masks", every, "camvid:fraction=full"),
            Arm("46 masks", few, "camvid:fraction=1_8", networks=("teacher", "student")),
        ),
        seeds=(0,),
        about="One network, several scales and mirror images. Val continues a drive of train, so the figures flatter.",
    )
