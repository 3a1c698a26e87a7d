"""Every way to use unlabelled images that csst_jax has, on CamVid with 46 masks: one network, equal steps and crops.

`csst_jax.compare` runs such a list on data of yours. Here the paper's own ways have the paper's labels, where every
pixel has one. The list fits an evening of one core, so it shows the beginning of training.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from configs.alternatives import FINETUNING_RATE
from configs.studies import _small
from csst_jax.studying.arms import Arm, Study

STEPS = 500
HALF = "masks alone with 4 crops"
_PUBLISHED = ("mean_teacher", "unimatch_v2", "cps", "cct", "u2pl", "pseudoseg", "hlcon", "corrmatch", "dst_cbc")
_RECIPE = {"student.method.name": "real_and_pseudo", "label.class_portion": 0.5, "label.flip": True}
_WEIGHTS = {f"student.method.real_and_pseudo.{kind}_weight": 1.0 for kind in ("real", "pseudo")}
_ST_PLUS_PLUS = {"student.method.name": "real_and_pseudo", "rounds": 2, "label.reliable_share": 0.5}
# CBST's portions over four rounds and the model regulariser, as configs/paper/table7.py has them.
_CRST = {"student.method.name": "model_regulariser", "rounds": 4}
_CRST |= {"label.class_portion": 0.2, "label.class_portion_growth": 0.05}
_SAME = {
    **_small.both(_small.TRAINING | _small.steps(STEPS)),
    **_small.PREDICTION,
    "teacher.snapshots": 2,  # for ST++, whose teacher all rows share
    **{f"student.method.real_and_pseudo.{kind}_weight": 0.5 for kind in ("real", "pseudo")},
}


def _masks(name: str, **changes: Any) -> Arm:
    return Arm(name, _SAME | {"stages": "teacher,evaluate"} | changes, networks=("teacher",))


def _two_stages(name: str, changes: Mapping[str, Any]) -> Arm:
    stages = {"stages": "teacher,label,student,evaluate"}
    return Arm(name, {**_SAME, **_small.PAPER, **stages, **changes}, networks=("student",))


def _one_stage(name: str, method: str, **settings: Any) -> Arm:
    own = {f"student.method.{method}.{key}": value for key, value in settings.items()}
    stages = {"stages": "student,evaluate", "student.method.name": method}
    return Arm(name, _SAME | stages | own, networks=("student",))


def _once(*arms: Arm) -> tuple[Arm, ...]:
    """With the first seed alone."""
    return tuple(dataclasses.replace(arm, most_seeds=1) for arm in arms)


def get_study() -> Study:
    """The paper's ways and the best known others have two seeds; all of it takes five hours of one core."""
    arms = (
        _masks("masks alone"),
        _two_stages("csst", {}),
        _two_stages("csst with uniform crops", {"student.sampler.name": "uniform"}),
        _two_stages("soft labels", {"label.soft.k": 3}),
        _two_stages("model regulariser", {"student.method.name": "model_regulariser"}),
        _two_stages("teacher goes on", {"finetune_teacher": True, "student.lr.base": FINETUNING_RATE}),
        _two_stages("threshold 0.9", {"label.confidence_threshold": 0.9}),
        _two_stages("surest half of each class", {"label.class_portion": 0.5}),
        _two_stages("three rounds", {"rounds": 3}),
        *_once(_two_stages("crst", _CRST)),
        *_once(_two_stages("recipe with half weights", _RECIPE)),
        _two_stages("recipe", _RECIPE | _WEIGHTS),
        _two_stages("st++", _ST_PLUS_PLUS),
        _one_stage("consistency", "consistency"),
        *_once(
            _one_stage("fixmatch", "consistency", confidence_threshold=0.95, cutmix=0.5),
            _one_stage("freematch", "freematch"),
        ),
        _one_stage("unimatch", "unimatch"),
        *_once(*(_one_stage(method, method) for method in _PUBLISHED)),
        *_once(
            # As many crops with masks as the ways of one stage have: half of theirs are unlabelled.
            _masks(HALF, **{"teacher.batch_size": 4, "teacher.samples_per_epoch": _small.CROPS_AN_EPOCH // 2}),
            _masks("all masks", **{"data.labelled_ids": ""}),
        ),
    )
    return Study(
        "Ways to use unlabelled images, on CamVid with 46 masks",
        "camvid:fraction=1_8",
        arms,
        seeds=(0, 1),
        reference="masks alone",
        about=f"The scored network takes {STEPS} steps of 8 crops of 160 px in each row but one. Where a row has "
        "pseudo labels from a teacher, the teacher is masks alone, and its steps are in the column `before`.",
    )
