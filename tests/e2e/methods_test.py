"""Methods with streams, views and a state of their own: after a kill, and in several processes."""

import time

import pytest

from tests.multiprocess.processes_test import assert_close
from tests.small_runs import (
    MEAN_TEACHER,
    ONE_STAGE,
    TWO_STAGES,
    copy_as_killed,
    finish,
    results,
    start,
    start_together,
    state_of,
    toy_command,
    wait_for,
)

pytestmark = pytest.mark.slow


def command(data, workdir, *more):
    return toy_command(data, workdir, *MEAN_TEACHER, *more)


@pytest.fixture(scope="module")
def whole(tiny_data, tmp_path_factory):
    """The workdir of an uninterrupted run on four devices."""
    workdir = tmp_path_factory.mktemp("whole")
    (process,) = start_together([command(tiny_data, workdir)], devices=4)
    finish(process)
    return workdir


def saved(workdir):
    """Whether the student has a whole checkpoint."""
    return any(path.name.isdigit() for path in (workdir / "student" / "checkpoints").glob("*"))


@pytest.mark.parametrize("method", [*ONE_STAGE, *TWO_STAGES])
def test_what_a_kill_leaves_goes_on_to_the_same_end(method, tiny_data, tmp_path):
    """`e2e/main_test.py` kills; here a copy of the files at such a moment goes on, beside the run that it is of."""

    def command(data, workdir):
        return toy_command(data, workdir, *(ONE_STAGE | TWO_STAGES)[method])

    whole, left = tmp_path / "whole", {}
    process = start(command(tiny_data, whole))
    # A method of two stages may be killed while the pool is labelled, too.
    for place in ("pseudo_labels/parts",) * (method in TWO_STAGES) + ("student/metrics.jsonl",):
        wait_for(whole / place, process)
        while place.startswith("student") and process.poll() is None and not saved(whole):
            time.sleep(0.02)  # it finds something to go on from
        copy = tmp_path / f"left {len(left)}"
        copy_as_killed(process, whole, copy)
        left[copy] = state_of(copy)
    finish(process)
    for copy, state in left.items():
        output = finish(start(command(tiny_data, copy)))
        # A fast machine may have finished the student before it was copied.
        assert "student: resuming at step" in output or state != "student", output
        assert results(copy) == results(whole), state


def test_two_processes_train_what_one_does_on_as_many_devices(whole, tiny_data, tmp_path):
    for process in start_together([command(tiny_data, tmp_path)] * 2, devices=2):
        finish(process)
    assert_close(tmp_path, whole, stages=("student",))
    ours, theirs = results(tmp_path)["student"], results(whole)["student"]
    assert ours["steps"] == theirs["steps"] and ours["miou"] == pytest.approx(theirs["miou"], abs=1e-3)
