"""Arms and seeds become configurations and commands."""

import pytest

from csst_jax.settings import ranges
from csst_jax.studying import arms
from csst_jax.studying.arms import Arm, Study
from csst_jax.studying.values import Network
from csst_jax.types import CsstError
from tests.studying import grid


def test_runs_are_every_arm_with_every_seed_and_their_commands_hold_what_differs(tmp_path):
    found = grid.runs(tmp_path)
    assert [run.name for run in found] == [f"{a}, seed {s}" for s in (0, 1) for a in ("alone", "student", "one stage")]
    last = found[-1]
    assert last.workdir == tmp_path / "runs" / "one_stage-1"
    assert last.command[1:] == (
        "-m", "csst_jax.main", "--config=base", f"--workdir={last.workdir}", "--config.data.dir=data",
        "--config.seed=1", "--config.stages=student,evaluate", "--config.student.method.name=mean_teacher",
    )  # fmt: skip
    assert last.asked() == {
        "data.dir": "data", "seed": 1, "stages": "student,evaluate", "student.method.name": "mean_teacher"
    }  # fmt: skip
    assert found[0].stages == {"teacher", "evaluate"}


def test_an_arm_can_have_fewer_seeds(tmp_path):
    own = grid.study(arms=(Arm("a"), Arm("b", most_seeds=1)), seeds=(3, 4), reference="a")
    assert [run.name for run in grid.runs(tmp_path, own)] == ["a, seed 3", "b, seed 3", "a, seed 4"]


def test_what_changes_no_score_is_not_asked_for(tmp_path):
    changes = {"input.prefetch": 2, "checkpoint.every_s": 1.0, "teacher.epochs": 2}
    own = grid.study(arms=(Arm("a", changes),), reference="")
    assert grid.runs(tmp_path, own)[0].asked() == {"data.dir": "data", "teacher.epochs": 2}


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"student.epoch": 1}, "arm 'x': unknown configuration key 'student.epoch'"),
        ({"student.epochs": -1}, "arm 'x': .*student.epochs"),
        ({"student.epochs": "many"}, "arm 'x': "),
    ],
)
def test_a_wrong_change_is_named_with_its_arm(tmp_path, changes, words):
    with pytest.raises(CsstError, match=words):
        grid.runs(tmp_path, grid.study(arms=(Arm("x", changes),), reference=""))


def test_the_command_line_sets_neither_seeds_nor_what_an_arm_sets(tmp_path):
    plain, overridden = grid.configuration()
    overridden.student.method.name = "real_and_pseudo"
    with pytest.raises(CsstError, match="student.method.name=real_and_pseudo: arm 'one stage' sets this key"):
        arms.refuse_overrides(grid.study(), lambda _: (plain, overridden))
    arms.refuse_overrides(grid.study(), lambda _: grid.configuration())
    overridden.seed = 3
    with pytest.raises(CsstError, match="--seeds instead"):
        arms.runs(grid.study(), tmp_path, lambda _: (plain, overridden))


@pytest.mark.parametrize(
    "fields,words",
    [
        ({"arms": ()}, "one arm or more"),
        ({"arms": (Arm("a b"), Arm("a_b"))}, "another name"),
        ({"seeds": (1, 1)}, "each once"),
        ({"reference": "none"}, "is no arm"),
        (
            {
                "arms": (Arm("a", most_seeds=1), Arm("b", {"teacher.pretrained": Network("a", "teacher")})),
                "reference": "",
            },
            "needs 'a' with every seed of its own",
        ),
    ],
)
def test_a_study_that_cannot_be_is_refused(fields, words):
    with pytest.raises(CsstError, match=words):
        grid.study(**fields)


def test_some_of_the_arms_and_other_seeds():
    some = grid.study().only(("student",), (5,))
    assert [arm.name for arm in some.arms] == ["student"] and some.seeds == (5,) and some.reference == ""
    assert grid.study().only((), ()) == grid.study()
    with pytest.raises(CsstError, match="--arms: unknown 'x'"):
        grid.study().only(("x",), ())
    assert Study("t", "base", (Arm("a/b c"),)).seeds == (0, 1, 2) and arms.directory_name("a/b c+") == "a_b_c+"


def test_keys_without_a_result_are_keys():
    assert [name for name in arms._NO_RESULT if not any(key.startswith(name) for key in ranges.known_keys())] == []
