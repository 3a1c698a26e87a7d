"""ST++, and with it rounds, snapshots and reliability: killed at any moment, and in several processes."""

import json
import random
import signal
import time

import pytest

from tests.multiprocess.processes_test import assert_close
from tests.small_runs import ST_PLUS_PLUS, finish, results, start, start_together, toy_command, wait_for

pytestmark = pytest.mark.slow
# What is waited for before a kill: each stage of each round is under way once.
_MOMENTS = (
    "teacher/metrics.jsonl",
    "rounds/1/pseudo_labels/parts",
    "rounds/1/student/metrics.jsonl",
    "pseudo_labels/parts",
    "student/metrics.jsonl",
)
_KEPT = (
    "*/*.safetensors",
    "rounds/1/student/*.safetensors",
    "teacher/snapshots/*",
    "**/reliability.json",
    "**/change.json",
)


def command(data, workdir):
    return toy_command(data, workdir, *ST_PLUS_PLUS)


def reliability(workdir):
    return json.loads((workdir / "rounds/1/pseudo_labels/reliability.json").read_text())


@pytest.fixture(scope="module")
def whole(tiny_data, tmp_path_factory):
    """The workdir of an uninterrupted run on four devices."""
    workdir = tmp_path_factory.mktemp("whole")
    (process,) = start_together([command(tiny_data, workdir)], devices=4)
    finish(process)
    return workdir


def test_killed_in_every_stage_it_ends_as_if_nothing_had_happened(tiny_data, tmp_path):
    expected, run = tmp_path / "expected", tmp_path / "run"
    finish(start(command(tiny_data, expected)))
    rng = random.Random(0)
    for moment in _MOMENTS:
        process = start(command(tiny_data, run))
        wait_for(run / moment, process)
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finish(start(command(tiny_data, run)))
    assert results(run) == results(expected)
    for pattern in _KEPT:
        names = sorted(path.relative_to(expected) for path in expected.glob(pattern))
        assert names and names == sorted(path.relative_to(run) for path in run.glob(pattern))
        for name in names:
            assert (run / name).read_bytes() == (expected / name).read_bytes(), name


def test_two_processes_select_and_train_what_one_does_on_as_many_devices(whole, tiny_data, tmp_path):
    for process in start_together([command(tiny_data, tmp_path)] * 2, devices=2):
        finish(process)
    assert_close(tmp_path, whole, stages=("teacher", "rounds/1/student"))
    ours, theirs = reliability(tmp_path), reliability(whole)
    assert list(ours) == list(theirs) and list(ours.values()) == pytest.approx(list(theirs.values()), abs=2e-3)
    mine, others = results(tmp_path), results(whole)
    assert mine["rounds"][1]["change"]["changed"] == pytest.approx(others["rounds"][1]["change"]["changed"], abs=0.02)
    assert mine["student"]["miou"] == pytest.approx(others["student"]["miou"], abs=0.02)
