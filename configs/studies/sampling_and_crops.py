"""When does centroid sampling pay (§3.2)? Both samplers at four sizes of crops, and four minimum areas.

Masks alone, on a slice of train that is held out for choosing settings: the second half of CamVid's drive 0006R0, which
`python -m data_prep.camvid` makes with --part=held_out:0006R0. The page has the share of each class in the crops beside
the scores. All rows take as many steps of as many crops, so that larger crops see more pixels.
"""

from configs.studies import _small
from csst_jax.studying import class_shares
from csst_jax.studying.arms import Arm, Point, Study

CROPS_PX, IMAGE_PX = (96, 160, 224, 320), 360
AREAS_PX = (0, 64, 1024)
STEPS = 500


def get_study() -> Study:
    """Eleven arms; a seed takes an hour of one core, of which the largest crops take half."""
    settings = _small.both(_small.TRAINING | _small.steps(STEPS)) | _small.PREDICTION
    settings |= {"stages": "teacher,evaluate", "data.dir": "data/camvid_held_out_0006r0", "data.labelled_ids": ""}
    arms = []
    for crop_px in CROPS_PX:
        share = f"{crop_px / IMAGE_PX:.2f}"
        for sampler in ("uniform", "centroid"):
            own = settings | {"teacher.crop_px": crop_px, "teacher.sampler.name": sampler}
            name = f"{sampler} {crop_px} px"
            reference = f"uniform {crop_px} px" if sampler == "centroid" else ""
            point = Point("Crop's side as a share of the image's height", sampler, share)
            arms.append(Arm(name, own, reference=reference, point=point))
    for area in AREAS_PX:
        own = settings | {"teacher.sampler.min_area_px": area}
        arms.append(Arm(f"centroid 160 px from {area} px", own, reference="uniform 160 px"))
    return Study(
        "Centroid sampling, the size of crops and the minimum area, on CamVid",
        "camvid",
        tuple(arms),
        about="All masks of train but those that are held out for validation. Rows without another minimum area have "
        "the default, which leaves out specks class by class.",
        axis="crop's side / image's height",
        prepare=class_shares.note,
    )
