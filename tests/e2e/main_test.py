"""`python -m csst_jax.main` as a person runs it: killed at any moment, told to stop, run twice, in two processes."""

import json
import os
import pathlib
import random
import re
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

SETTINGS = {
    "schedule.num_sizes": 2,
    "width": 0.25,
    "epochs": 4,
    "samples_per_epoch": 32,
    "crop_px": 64,
    "batch_size": 8,
    "sampler.pseudo_min_area_px": 4,
}


def command(data, workdir, *more):
    flags = [f"--config.{stage}.{key}={value}" for stage in ("teacher", "student") for key, value in SETTINGS.items()]
    return [
        sys.executable, "-m", "csst_jax.main", f"--config={ROOT}/configs/base.py", f"--workdir={workdir}",
        f"--config.data.dir={data}", *flags, "--config.label.shard_size=1", "--config.log_every_steps=1",
        "--config.checkpoint.every_s=0.2", "--config.evaluate.num_pictures=2", "--config.compilation_cache_dir=", *more,
    ]  # fmt: skip


def start(arguments, **environment):
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process, status=0, timeout=300):
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == status, output
    return output


def processor_time_of_children():
    """Seconds, of those that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def results(workdir):
    """results.json without what may differ from run to run: times, and what the last process had to compile."""
    content = json.loads((workdir / "results.json").read_text())
    del content["wall_s"]
    for stage in content["compilations"].values():
        del stage["phases"], stage["count"]
    return content


@pytest.fixture(scope="module")
def whole(tiny_data, tmp_path_factory):
    """The workdir of an uninterrupted run, and what it printed."""
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, finish(start(command(tiny_data, workdir)))


def state_of(workdir):
    """Where a run stands, from coarse to fine."""
    for stage in ("student", "pseudo_labels", "teacher"):
        if (workdir / stage).exists():
            return stage
    return "start"


def test_a_whole_run_says_what_it_did(whole):
    workdir, output = whole
    for words in ("mIoU", "student-teacher", str(workdir / "results.json"), "report.html", "left 0:00", "input wait"):
        assert words in output, words
    assert results(workdir)["compilations"]["teacher"] == {"distinct_phases": 2}
    assert json.loads((workdir / "config.json").read_text())["teacher"]["width"] == 0.25


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_random_moments_it_ends_as_if_nothing_had_happened(whole, tiny_data, tmp_path, seed):
    rng, killed = random.Random(seed), []
    for stage in ("teacher", "pseudo_labels", "student"):
        process = start(command(tiny_data, tmp_path))
        give_up = time.monotonic() + 120
        while not (tmp_path / stage).exists() and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, {"teacher": 8, "pseudo_labels": 3, "student": 6}[stage]))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            killed.append(state_of(tmp_path))
    assert killed, "every run was over before it was killed"
    finish(start(command(tiny_data, tmp_path)))
    assert results(tmp_path) == results(whole[0]), killed


def test_sigterm_saves_and_exits_with_success_and_the_run_goes_on(whole, tiny_data, tmp_path):
    process = start(command(tiny_data, tmp_path, "--config.checkpoint.every_s=1e9"))
    metrics = tmp_path / "teacher" / "metrics.jsonl"
    give_up = time.monotonic() + 120
    while not (metrics.exists() and metrics.stat().st_size) and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output = finish(process)
    assert "teacher: SIGTERM; saved step" in output and "Run the same command again to go on." in output
    assert not (tmp_path / "results.json").exists()
    (saved,) = (int(p.name) for p in (tmp_path / "teacher" / "checkpoints").iterdir() if p.name.isdigit())
    # The cadence of checkpoints is no part of the result.
    output = finish(start(command(tiny_data, tmp_path)))
    assert f"teacher: resuming at step {saved} of" in output
    assert results(tmp_path) == results(whole[0])


def test_second_run_in_one_workdir_is_refused_and_the_first_goes_on(whole, tiny_data, tmp_path):
    first = start(command(tiny_data, tmp_path))
    while not (tmp_path / "teacher").exists() and first.poll() is None:
        time.sleep(0.02)
    output = finish(start(command(tiny_data, tmp_path)), status=2)
    assert f"error: {tmp_path} is in use by another run (process {first.pid})" in output and "--workdir" in output
    finish(first)
    assert results(tmp_path) == results(whole[0])


def test_finished_run_ends_at_once_and_changed_settings_are_an_error(whole, tiny_data):
    workdir, _ = whole
    before = (workdir / "results.json").read_bytes()
    begin = processor_time_of_children()
    finish(start([sys.executable, "-c", "import csst_jax.pipeline"]))
    importing = processor_time_of_children() - begin
    output = finish(start(command(tiny_data, workdir), PYTHONPROFILEIMPORTTIME="1"))
    # Processor time, and beside a yardstick: other tests run beside this one, on machines of any speed.
    assert processor_time_of_children() - begin - importing < 4 * importing
    assert re.search(r"\| +jax$", output, re.MULTILINE) and not re.search(r"\| +tensorflow$", output, re.MULTILINE)
    assert "teacher: done, skipped" in output and "student: done, skipped" in output
    assert (workdir / "results.json").read_bytes() == before
    output = finish(start(command(tiny_data, workdir, "--config.teacher.lr.base=0.5")), status=2)
    assert "settings.lr.base: 0.02 there, 0.5 now" in output and "Traceback" not in output
    assert (workdir / "results.json").read_bytes() == before
    assert json.loads((workdir / "config.json").read_text())["teacher"]["lr"]["base"] == 0.02


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# The toy network, since every program is compiled anew for two processes.
WITH_TOY = """
import runpy
from csst_jax.models import zoo
zoo.NETWORKS["toy"] = zoo.Entry("tests.toy_network:build")
runpy.run_module("csst_jax.main", run_name="__main__", alter_sys=True)
"""


def toy_command(data, workdir):
    module = ["-m", "csst_jax.main"]
    arguments = [argument for argument in command(data, workdir) if argument not in module]
    names = [
        f"--config.{stage}.{key}" for stage in ("teacher", "student") for key in ("network=toy", "augment.blur=0.0")
    ]
    return [arguments[0], "-c", WITH_TOY, *arguments[1:], *names]


def test_two_processes_train_what_one_does_and_write_one_result(tiny_data, tmp_path):
    finish(start(toy_command(tiny_data, tmp_path / "alone")))
    workdir = tmp_path / "together"

    def both():
        shared = {"CSST_COORDINATOR": f"127.0.0.1:{free_port()}", "CSST_PROCESSES": "2"}
        processes = [start(toy_command(tiny_data, workdir), **shared, CSST_PROCESS_ID=str(i)) for i in range(2)]
        return [finish(process) for process in processes]

    outputs = both()
    assert "mIoU" in outputs[0] and "mIoU" not in outputs[1]
    together, alone = results(workdir), results(tmp_path / "alone")
    losses = [
        [json.loads(line)["loss"] for line in (directory / "teacher" / "metrics.jsonl").read_text().splitlines()]
        for directory in (workdir, tmp_path / "alone")
    ]
    # The same crops, augmentation and initial values; sums over the batch are taken in another order.
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    for name in ("teacher", "student"):
        assert together[name]["steps"] == alone[name]["steps"]
        assert together[name]["miou"] == pytest.approx(alone[name]["miou"], abs=0.02)
    for key in ("images", "shards", "settings"):
        assert together["pseudo_labels"][key] == alone["pseudo_labels"][key]
    assert together["data"] == alone["data"]
    # Once more, as the launcher starts them; the interpreter that it is given puts the toy network in.
    interpreter, _, program, *flags = toy_command(tiny_data, workdir)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nshift 2\nexec {interpreter} -c {shlex.quote(program)} "$@"\n')
    python.chmod(0o755)
    launcher = [str(ROOT / "launch" / "local_multiprocess.sh"), "2", *flags]
    output = finish(start(launcher, PYTHON=str(python), CSST_COORDINATOR=f"127.0.0.1:{free_port()}"))
    assert output.count("teacher: done, skipped") == 1
    assert results(workdir) == together
