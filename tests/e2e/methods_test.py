"""A method with streams, views and a state of its own: killed at any moment, and in several processes."""

import random
import signal
import time

import pytest

from tests.multiprocess.processes_test import assert_close
from tests.small_runs import (
    MEAN_TEACHER,
    ONE_STAGE,
    TWO_STAGES,
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
def test_killed_at_random_moments_it_ends_as_if_nothing_had_happened(method, tiny_data, tmp_path):
    def command(data, workdir):
        return toy_command(data, workdir, *(ONE_STAGE | TWO_STAGES)[method])

    expected = tmp_path / "expected"
    finish(start(command(tiny_data, expected)))
    rng, killed = random.Random(0), []
    for _ in range(3):
        process = start(command(tiny_data, tmp_path / "run"))
        # A method of two stages may be killed while the pool is labelled, too.
        place = "pseudo_labels/parts" if method in TWO_STAGES and not killed else "student/metrics.jsonl"
        wait_for(tmp_path / "run" / place, process)
        while len(killed) == 2 and process.poll() is None and not saved(tmp_path / "run"):
            time.sleep(0.02)  # the last run finds something to go on from
        time.sleep(rng.uniform(0, 2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed.append(state_of(tmp_path / "run"))
    output = finish(start(command(tiny_data, tmp_path / "run")))
    assert "student: resuming at step" in output or "student: done, skipped" in output, killed
    assert results(tmp_path / "run") == results(expected), killed


def test_two_processes_train_what_one_does_on_as_many_devices(whole, tiny_data, tmp_path):
    for process in start_together([command(tiny_data, tmp_path)] * 2, devices=2):
        finish(process)
    assert_close(tmp_path, whole, stages=("student",))
    ours, theirs = results(tmp_path)["student"], results(whole)["student"]
    assert ours["steps"] == theirs["steps"] and ours["miou"] == pytest.approx(theirs["miou"], abs=1e-3)
