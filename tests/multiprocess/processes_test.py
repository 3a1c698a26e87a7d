"""One run in several processes: the same result as in one, and nobody left waiting."""

import json
import os
import shlex
import shutil
import signal
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from csst_jax.models.weights import files
from tests.small_runs import ROOT, finish, free_port, results, start, start_together, toy_command, wait_for

pytestmark = pytest.mark.slow


def alone(data, workdir, devices=1):
    (process,) = start_together([toy_command(data, workdir)], devices)
    return finish(process)


def together(data, workdir, processes, devices, *more):
    return start_together([toy_command(data, workdir, *more)] * processes, devices)


def weights(workdir, stage):
    """Everything in the stage's last checkpoint, by name."""
    steps = [path for path in (workdir / stage / "checkpoints").iterdir() if path.name.isdigit()]
    newest = max(steps, key=lambda path: int(path.name))
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with ocp.StandardCheckpointer() as checkpointer:
        stored = checkpointer.metadata(newest / "default").item_metadata.tree
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), stored)
        tree = checkpointer.restore(newest / "default", like)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def assert_close(one, other, stages=("teacher", "student")):
    """The same weights, momentum and statistics; sums over the batch may be taken in another order."""
    for stage in stages:
        ours, theirs = weights(one, stage), weights(other, stage)
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            np.testing.assert_allclose(value, theirs[name], rtol=0, atol=1e-6, err_msg=f"{stage} {name}")


def launched(data, workdir, processes):
    """What the launcher's processes print; its interpreter puts the toy network in."""
    interpreter, _, program, *flags = toy_command(data, workdir)
    python = workdir.with_name("python")
    python.write_text(f'#!/bin/sh\nshift 2\nexec {interpreter} -c {shlex.quote(program)} "$@"\n')
    python.chmod(0o755)
    devices = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    command = [str(ROOT / "launch" / "local_multiprocess.sh"), str(processes), *flags]
    where = {"PYTHON": str(python), "CSST_COORDINATOR": f"127.0.0.1:{free_port()}", "XLA_FLAGS": devices}
    return finish(start(command, **where))


@pytest.mark.parametrize("processes", [pytest.param(2, marks=pytest.mark.essential("two processes")), 4])
def test_processes_train_what_one_does_on_as_many_devices(tiny_data, tmp_path, processes):
    alone(tiny_data, tmp_path / "alone", 2 * processes)
    output = launched(tiny_data, tmp_path / "together", processes)
    assert output.count("student-teacher") == 1
    assert_close(tmp_path / "together", tmp_path / "alone")
    ours, theirs = results(tmp_path / "together"), results(tmp_path / "alone")
    for name in ("teacher", "student"):
        assert ours[name]["steps"] == theirs[name]["steps"]
        assert ours[name]["miou"] == pytest.approx(theirs[name]["miou"], abs=1e-3)
    assert ours["pseudo_labels"]["images"] == 4 == ours["pseudo_labels"]["shards"]


def test_the_first_process_writes_the_whole_network_where_each_has_a_part(tiny_data, tmp_path):
    split = ("--config.stages=teacher", "--config.mesh.split_state=True")
    for process in together(tiny_data, tmp_path, 2, 2, *split):
        finish(process)
    arrays, description = files.read(tmp_path / "teacher")
    checkpoint = weights(tmp_path, "teacher")
    kept = {name: checkpoint[f"['{part}']['{name}']"] for part, name in map(_part, arrays)}
    for name, value in arrays.items():
        assert kept[name].dtype == value.dtype and kept[name].tobytes() == value.tobytes(), name
    done = json.loads((tmp_path / "teacher" / "DONE").read_text())
    assert done["weights_sha256"] == description.weights_sha256
    shutil.rmtree(tmp_path / "teacher" / "checkpoints")
    outputs = [finish(process) for process in together(tiny_data, tmp_path, 2, 2, *split)]
    assert "teacher: done, skipped" in outputs[0]


def test_processes_measure_batch_normalisation_over_the_crops_of_all(tiny_data, tmp_path):
    more = ("--config.stages=teacher", "--config.teacher.precise_bn_steps=3")
    for process in together(tiny_data, tmp_path / "two", 2, 2, *more):
        finish(process)
    (process,) = start_together([toy_command(tiny_data, tmp_path / "one", *more)], 4)
    finish(process)
    ours, theirs = (files.read(tmp_path / name / "teacher")[0] for name in ("two", "one"))
    running = weights(tmp_path / "one", "teacher")
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], rtol=1e-5, atol=1e-5, err_msg=name)
        part, _ = _part(name)
        assert np.array_equal(theirs[name], running[f"['{part}']['{name}']"]) == (part == "params"), name


def _part(name):
    return "batch_stats" if name.endswith((".mean", ".var")) else "params", name


def test_checkpoints_of_four_processes_go_on_in_one_and_in_two(tiny_data, tmp_path):
    longer = ("--config.stages=teacher", "--config.teacher.epochs=8")  # processes agree to stop at most ten steps apart
    finish(*together(tiny_data, tmp_path / "whole", 1, 8, *longer))
    first = tmp_path / "first"
    processes = together(tiny_data, first, 4, 2, *longer, "--config.checkpoint.every_s=1e9")
    wait_for(first / "teacher" / "metrics.jsonl", processes[0])
    processes[2].send_signal(signal.SIGTERM)  # one is told, and all stop
    outputs = [finish(process) for process in processes]
    assert all("teacher: SIGTERM; saved step" in output for output in outputs)
    for number, layout in enumerate(((1, 1), (2, 4))):
        workdir = tmp_path / f"then{number}"
        shutil.copytree(first, workdir)
        output, *_ = [finish(process) for process in together(tiny_data, workdir, *layout, *longer)]
        assert "teacher: resuming at step" in output
        assert_close(workdir, tmp_path / "whole", ["teacher"])


def test_a_process_that_dies_ends_the_others_with_its_name_and_the_run_goes_on(tiny_data, tmp_path):
    processes = together(tiny_data, tmp_path, 2, 1, "--config.teacher.epochs=400")
    metrics = tmp_path / "teacher" / "metrics.jsonl"
    wait_for(metrics, processes[0])
    # All programs have run and processes have voted: JAX would wait for one that dies while it first connects.
    while metrics.read_text().count("\n") < 40 and processes[0].poll() is None:
        time.sleep(0.05)
    processes[1].kill()
    began = time.monotonic()
    output, _ = processes[0].communicate(timeout=90)
    assert time.monotonic() - began < 60
    assert processes[0].returncode not in (0, 2), output
    assert "error: process 0 lost another process of the run" in output
    assert "The following tasks are unhealthy (stopped sending heartbeats):\n1\n" in output
    processes = together(tiny_data, tmp_path, 2, 1, "--config.teacher.epochs=400")
    give_up = time.monotonic() + 120
    written = metrics.stat().st_mtime_ns
    while metrics.stat().st_mtime_ns == written and processes[0].poll() is None:
        assert time.monotonic() < give_up, "training does not go on"
        time.sleep(0.05)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert all("SIGTERM" in finish(process) for process in processes)


def test_a_process_with_another_configuration_is_refused_by_all(tiny_data, tmp_path):
    commands = [toy_command(tiny_data, tmp_path), toy_command(tiny_data, tmp_path, "--config.teacher.lr.base=0.5")]
    for output in [finish(process, status=2) for process in start_together(commands)]:
        assert "process 1 was not started like process 0: config.teacher.lr.base: 0.02 there, 0.5 here" in output
    assert not (tmp_path / "teacher").exists()


def test_scores_while_training_add_up_over_processes(tiny_data, tmp_path):
    """Each process predicts its share; the state is split over the devices of both."""
    flags = ("--config.stages=teacher", "--config.evaluate.every_epochs=2", "--config.mesh.split_state=True")
    for process in together(tiny_data, tmp_path / "two", 2, 2, *flags):
        finish(process)
    (process,) = start_together([toy_command(tiny_data, tmp_path / "one", *flags)], 4)
    finish(process)
    two, one = (
        json.loads((tmp_path / name / "teacher" / "while_training" / "scores.json").read_text())
        for name in ("two", "one")
    )
    assert two["images"] == one["images"] and len(one["images"]) == 3 and len(one["shown"]) == 2
    assert len(two["scores"]) == 2
    for ours, theirs in zip(two["scores"], one["scores"], strict=True):
        assert ours["step"] == theirs["step"]
        assert ours["miou"] == pytest.approx(theirs["miou"], abs=0.01)
        assert ours["pixel_accuracy"] == pytest.approx(theirs["pixel_accuracy"], abs=0.01)
