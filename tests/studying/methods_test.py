"""Which arms a comparison has, and what each of them changes."""

import pytest

from csst_jax.methods import METHODS
from csst_jax.studying import flags, methods
from csst_jax.types import CsstError


@pytest.fixture
def config(tiny_config, tiny_data, tmp_path):
    ids = tmp_path / "ids.txt"
    ids.write_text("image00\nimage01\n")
    found = tiny_config(tiny_data)
    found.data.labelled_ids = str(ids)
    return found


def arms(config, tmp_path, names=("csst",)):
    return {arm.name: arm for arm in methods.study(config, "base", names, (0,), tmp_path).arms}


def test_masks_alone_and_oracle_stand_beside_the_methods(config, tmp_path):
    found = arms(config, tmp_path, ("supervised", "mean_teacher"))
    assert list(found) == ["masks_alone", "csst", "mean_teacher", "oracle"]
    assert found["csst"].changes == {"student.method.name": "supervised", "stages": "teacher,label,student,evaluate"}
    assert found["mean_teacher"].changes == {"student.method.name": "mean_teacher", "stages": "student,evaluate"}
    assert found["masks_alone"].changes == {"stages": "teacher,evaluate"}, "the teacher's settings are the student's"
    assert found["oracle"].changes == {"stages": "teacher,evaluate", "data.labelled_ids": ""}
    config.data.labelled_ids = ""
    assert "oracle" not in arms(config, tmp_path), "the pool has no masks"


def test_masks_alone_is_trained_as_the_student_is(config, tmp_path):
    config.student.epochs, config.student.lr.base, config.student.method.name = 7, 0.5, "real_and_pseudo"
    config.student.samples_per_epoch = 0
    found = arms(config, tmp_path)
    assert found["masks_alone"].changes == {
        "stages": "teacher,evaluate", "teacher.epochs": 7, "teacher.lr.base": 0.5,
        "teacher.samples_per_epoch": 8, "student.samples_per_epoch": 8,
    }  # fmt: skip
    assert found["csst"].changes["student.samples_per_epoch"] == 8, "2 with masks and 6 without"


@pytest.mark.parametrize(
    "name,two", [("supervised", True), ("real_and_pseudo", True), ("mean_teacher", False), ("cps", False)]
)
def test_stages_follow_from_the_streams_of_a_method(config, name, two):
    assert methods.two_stages(config, name) == two


def test_every_method_is_known_and_the_papers_by_its_name():
    assert set(flags.known_methods()) == {*METHODS, "csst", "soft", "finetuned", "rounds", "st++"} - {"supervised"}


def test_the_papers_other_ways_are_csst_with_a_key_changed(config, tmp_path):
    found = arms(config, tmp_path, ("csst", "soft", "finetuned", "model_regulariser"))
    csst = found["csst"].changes
    assert found["soft"].changes == csst | {"label.soft.k": 3}
    assert found["finetuned"].changes == csst | {"finetune_teacher": True, "student.lr.base": 0.002}
    assert found["model_regulariser"].changes == csst | {"student.method.name": "model_regulariser"}


def test_rounds_and_st_plus_plus_beside_the_others(config, tmp_path):
    config.rounds = 4
    found = arms(config, tmp_path, ("csst", "rounds", "st++"))
    two = "teacher,label,student,evaluate"
    shared = {"teacher.snapshots": 2, "stages": two}
    assert found["csst"].changes == {**shared, "student.method.name": "supervised", "rounds": 1}
    assert found["rounds"].changes == {**shared, "student.method.name": "supervised"}, "as many as the configuration"
    assert found["st++"].changes == {
        **shared, "student.method.name": "real_and_pseudo", "rounds": 2, "label.reliable_share": 0.5
    }  # fmt: skip
    assert found["masks_alone"].changes == {"teacher.snapshots": 2, "stages": "teacher,evaluate"}, "one teacher for all"
    config.rounds, config.student.method.name = 1, "real_and_pseudo"
    changes = arms(config, tmp_path, ("rounds",))["rounds"].changes
    assert changes == {"rounds": 3, "student.method.name": "real_and_pseudo", "stages": two}
    config.student.method.name = "mean_teacher"
    assert arms(config, tmp_path, ("rounds",))["rounds"].changes["student.method.name"] == "supervised"


def test_a_teacher_that_goes_on_is_asked_for_where_there_is_one(config, tmp_path):
    config.finetune_teacher = True
    found = arms(config, tmp_path, ("csst", "mean_teacher"))
    assert "finetune_teacher" not in found["csst"].changes
    assert found["mean_teacher"].changes["finetune_teacher"] is False, "it has no stage of a teacher"


def test_a_share_of_real_labels_is_left_to_methods_whose_crops_come_from_both_kinds(config, tmp_path):
    """The others would refuse it: they have none of pseudo labels, or shares of their own."""
    config.student.sampler.real_share = 0.5
    found = arms(config, tmp_path, ("csst", "model_regulariser", "real_and_pseudo", "mean_teacher"))
    for name in ("csst", "model_regulariser"):
        assert "student.sampler.real_share" not in found[name].changes, name
    for name in ("real_and_pseudo", "mean_teacher"):
        assert found[name].changes["student.sampler.real_share"] == -1, name
    assert "teacher.sampler.real_share" not in found["masks_alone"].changes


def test_a_method_without_pseudo_labels_by_its_settings_has_one_stage(config):
    config.student.method.real_and_pseudo.pseudo_parts = 0
    assert not methods.two_stages(config, "real_and_pseudo")


def test_a_data_set_without_a_pool_is_refused_before_masks_alone_is_trained(config, tmp_path):
    config.data.train_split, config.data.labelled_ids = "val", ""
    with pytest.raises(CsstError, match="the unlabelled pool is empty: all 3 images of split 'val' .*are labelled"):
        arms(config, tmp_path)


@pytest.mark.parametrize("names", [(), ("csst", "supervised"), ("mean_techer",)])
def test_wrong_lists_of_methods_are_refused(config, tmp_path, names):
    with pytest.raises(CsstError, match=r"mean_teacher"):
        arms(config, tmp_path, names)


@pytest.mark.slow
def test_open_sizes_are_chosen_once_for_all(config, tmp_path):
    config.teacher.batch_size = config.student.batch_size = config.student.samples_per_epoch = -1
    found = arms(config, tmp_path, ("csst", "mean_teacher"))
    assert (tmp_path / "sizes.json").exists()
    keys = ("student.batch_size", "student.samples_per_epoch", "teacher.batch_size")
    sizes = {key: found["csst"].changes[key] for key in keys}
    assert min(sizes.values()) > 0
    assert {key: found["mean_teacher"].changes[key] for key in keys} == sizes
    alone = found["masks_alone"].changes
    assert alone.get("teacher.samples_per_epoch", 16) == sizes["student.samples_per_epoch"]
