"""What rounds there are, where they lie, and how their settings differ."""

import pytest

from configs import base
from csst_jax.settings import resolve, rounds
from csst_jax.types import CsstError


@pytest.fixture(scope="module")
def plain():
    return base.get_config()


@pytest.fixture
def config(plain):
    return plain.copy_and_resolve_references()


def test_the_last_round_lies_where_that_of_one_round_does():
    (only,) = rounds.of(1)
    assert (only.teacher, only.labels, only.student) == ("teacher", "pseudo_labels", "student")
    first, second, third = rounds.of(3)
    assert (first.teacher, first.labels, first.student) == ("teacher", "rounds/1/pseudo_labels", "rounds/1/student")
    assert (second.teacher, second.student) == ("rounds/1/student", "rounds/2/student")
    assert (third.teacher, third.labels, third.student) == ("rounds/2/student", "pseudo_labels", "student")


def test_one_round_asks_for_what_it_asked_for_before(config):
    config.label.confidence_threshold = 0.5
    label = resolve.run(config).label
    found = rounds.labelling(label, rounds.of(1)[0])
    assert found == label and found.request.differing == {"confidence_threshold": 0.5}


def test_portions_grow_round_by_round_up_to_all(config):
    config.rounds, config.label.class_portion, config.label.class_portion_growth = 4, 0.2, 0.3
    label = resolve.run(config).label
    found = [rounds.labelling(label, turn) for turn in rounds.of(4)]
    assert [one.class_portion for one in found] == pytest.approx([0.2, 0.5, 0.8, 1.0])
    assert [one.request.differing for one in found] == [{"class_portion": one.class_portion} for one in found]
    assert found[0].request.whole["class_portion_growth"] == 0.0


def test_the_first_of_two_rounds_takes_the_reliable_half_and_the_last_one_all(config):
    config.rounds, config.label.reliable_share, config.teacher.snapshots = 2, 0.5, 2
    label = resolve.run(config).label
    first, last = (rounds.labelling(label, turn) for turn in rounds.of(2))
    assert first.request.differing == {"reliable_share": 0.5} and last.request.differing == {}
    assert [rounds.num_reliable(one, 7) for one in (first, last)] == [3, 7], "7 // 2"
    assert rounds.num_reliable(first, 1) == 1


@pytest.mark.parametrize("epochs", [3, 80, 240, 241])
def test_snapshots_are_of_the_epochs_of_the_reference_implementation(epochs):
    assert rounds.snapshot_epochs(epochs, 2) == (epochs // 3, epochs * 2 // 3)


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"label.class_portion_growth": 0.1}, "class_portion_growth is 0.1, and label.class_portion is off"),
        ({"label.lower_of_two": True}, "lower_of_two is True, and label.class_portion is off"),
        ({"label.reliable_share": 0.5}, "reliable_share is 0.5, and rounds is 1; set rounds to 2"),
        ({"label.reliable_share": 0.5, "rounds": 3}, "and rounds is 3; set rounds to 2"),
        ({"label.reliable_share": 0.5, "rounds": 2}, "set teacher.snapshots to 2"),
        ({"label.reliable_share": 0.5, "rounds": 2, "stages": "teacher,label"}, "set teacher.snapshots to 2"),
        ({"teacher.snapshots": 2, "teacher.epochs": 2}, "teacher.snapshots is 2, and teacher.epochs 2; give 3 epochs"),
        ({"rounds": 2, "student.method.name": "mean_teacher"}, "mean_teacher learns no stored pseudo labels"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(config, changes, message):
    config.update_from_flattened_dict(changes)
    with pytest.raises(CsstError, match=message):
        resolve.run(config)


def test_a_run_without_a_student_has_no_rounds_to_refuse(config):
    config.update_from_flattened_dict({"rounds": 3, "stages": "teacher,evaluate", "label.reliable_share": 0.5})
    assert resolve.run(config).rounds == 3
