"""`python -m csst_jax.main` as a person runs it: killed at any moment, told to stop, run twice."""

import json
import os
import random
import re
import resource
import signal
import sys
import time

import pytest

from tests.small_runs import ROOT, command, finish, results, start, state_of, toy_command, wait_for

pytestmark = pytest.mark.slow


def processor_time_of_children():
    """Seconds, of those that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="module")
def said(tiny_data, tmp_path_factory):
    """The workdir of an uninterrupted run of the toy network, and what it printed."""
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, finish(start(toy_command(tiny_data, workdir)))


@pytest.fixture(scope="module")
def whole(said):
    """Its workdir."""
    return said[0]


@pytest.mark.essential("a whole run")
def test_a_whole_run_says_what_it_did(said):
    workdir, output = said
    for words in (
        "mIoU",
        "student-teacher",
        str(workdir / "results.json"),
        "report.html",
        "left 0:00",
        "input wait",
        "program 1 of 2",
    ):
        assert words in output, words
    assert results(workdir)["compilations"]["teacher"] == {"distinct_phases": 2}


def test_fast_scnn_is_trained_and_scored(tiny_data, tmp_path):
    one_size = "--config.teacher.schedule.kind=constant"  # the toy network has two, and compiles in seconds
    data = os.path.relpath(tiny_data, ROOT)
    output = finish(start(command(data, tmp_path, "--config.stages=teacher,evaluate", one_size)))
    assert "mIoU" in output and "student" not in results(tmp_path)
    recorded = json.loads((tmp_path / "config.json").read_text())
    assert recorded["teacher"]["width"] == 0.25 and recorded["data"]["dir"] == str(tiny_data)


@pytest.mark.parametrize("seed", [pytest.param(0, marks=pytest.mark.essential("a run that is killed")), 1])
def test_killed_at_random_moments_it_ends_as_if_nothing_had_happened(whole, tiny_data, tmp_path, seed):
    rng, killed = random.Random(seed), []
    for stage in ("teacher", "pseudo_labels", "student"):
        process = start(toy_command(tiny_data, tmp_path))
        wait_for(tmp_path / stage, process)
        time.sleep(rng.uniform(0, {"teacher": 4, "pseudo_labels": 2, "student": 4}[stage]))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            killed.append(state_of(tmp_path))
    assert killed, "every run was over before it was killed"
    finish(start(toy_command(tiny_data, tmp_path)))
    assert results(tmp_path) == results(whole), killed


@pytest.mark.essential("a run that is told to stop")
@pytest.mark.parametrize("sent,name,status", [(signal.SIGTERM, "SIGTERM", 0), (signal.SIGINT, "Ctrl-C", 130)])
def test_a_signal_saves_and_the_run_goes_on(whole, tiny_data, tmp_path, sent, name, status):
    process = start(toy_command(tiny_data, tmp_path, "--config.checkpoint.every_s=1e9"))
    wait_for(tmp_path / "teacher" / "metrics.jsonl", process)
    process.send_signal(sent)
    output = finish(process, status)
    last = output.splitlines()[-1]
    assert last.startswith(f"teacher: {name}; saved step"), output
    assert last.endswith("Run the same command again to continue."), output
    assert "Traceback" not in output
    assert not (tmp_path / "results.json").exists()
    (saved,) = (int(p.name) for p in (tmp_path / "teacher" / "checkpoints").iterdir() if p.name.isdigit())
    # The cadence of checkpoints is no part of the result.
    output = finish(start(toy_command(tiny_data, tmp_path)))
    assert f"teacher: resuming at step {saved} of" in output
    assert results(tmp_path) == results(whole)


def test_second_run_in_one_workdir_is_refused_and_the_first_goes_on(whole, tiny_data, tmp_path):
    first = start(toy_command(tiny_data, tmp_path))
    wait_for(tmp_path / "teacher", first)
    output = finish(start(toy_command(tiny_data, tmp_path)), status=2)
    assert f"error: {tmp_path} is in use by another run (process {first.pid})" in output and "--workdir" in output
    finish(first)
    assert results(tmp_path) == results(whole)


def test_finished_run_ends_at_once_and_changed_settings_are_an_error(whole, tiny_data):
    workdir = whole
    before = (workdir / "results.json").read_bytes()
    begin = processor_time_of_children()
    finish(start([sys.executable, "-c", "import csst_jax.pipeline"]))
    importing = processor_time_of_children() - begin
    output = finish(start(toy_command(tiny_data, workdir), PYTHONPROFILEIMPORTTIME="1"))
    # Processor time, and beside a yardstick: other tests run beside this one, on machines of any speed.
    assert processor_time_of_children() - begin - importing < 4 * importing
    assert re.search(r"\| +jax$", output, re.MULTILINE) and not re.search(r"\| +tensorflow$", output, re.MULTILINE)
    assert "teacher: done, skipped" in output and "student: done, skipped" in output
    assert (workdir / "results.json").read_bytes() == before
    output = finish(start(toy_command(tiny_data, workdir, "--config.teacher.lr.base=0.5")), status=2)
    assert "settings.lr.base: 0.02 there, 0.5 now" in output and "Traceback" not in output
    assert (workdir / "results.json").read_bytes() == before
    assert json.loads((workdir / "config.json").read_text())["teacher"]["lr"]["base"] == 0.02
