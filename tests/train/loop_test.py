"""The loop: it compiles once a phase, resumes exactly, stops when asked, and refuses to go on without a finite loss."""

import dataclasses
import gc
import json
import logging
import os
import signal
import threading
import time
import types

import jax
import numpy as np
import pytest

from csst_jax.runtime.signals import Preempted
from csst_jax.train import loop, nonfinite

BACKEND_COMPILE = "/jax/core/compile/backend_compile_duration"  # jax._src.dispatch.BACKEND_COMPILE_EVENT


@pytest.fixture
def compiled_programs():
    """Names of the programs that XLA compiles, or loads from the persistent cache, while the test runs."""
    names = []

    def note(event, _, **metadata):
        if event == BACKEND_COMPILE:
            names.append(metadata.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(note)
    yield names
    jax.monitoring.unregister_event_duration_listener(note)


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def lines(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.essential("a step for each crop size")
def test_a_whole_coarse2fine_plus_run_compiles_one_step_for_each_distinct_phase(make_run, compiled_programs, tmp_path):
    loop.train(make_run("constant", epochs=1, directory=tmp_path / "first"))  # whatever else JAX needs, once a process
    assert "train_step_48px_8" in " ".join(compiled_programs)
    compiled_programs.clear()
    run = make_run("coarse2fine+", epochs=5, num_sizes=2, directory=tmp_path / "second")
    assert [phase.crop_px for phase in run.phases] == [24, 48, 24, 48, 24]
    state, compilations = loop.train(run)
    assert int(state.step) == sum(phase.steps for phase in run.phases)
    steps = ["jit(train_step_24px_32)", "jit(train_step_48px_8)"]
    assert sorted(compiled_programs) == ["jit(first_state)", *steps]
    assert [c.crop_px for c in compilations] == [24, 48]
    assert all(c.seconds > 0 and c.flops > 0 and c.memory_bytes > 0 for c in compilations)


def test_the_state_stays_on_the_devices_from_step_to_step_and_from_phase_to_phase(make_run, monkeypatch):
    """Each step takes the very arrays that the one before returned, and nothing else than batches is transferred."""
    returned, crops_seen = [], []
    make_batch = loop.device_batch

    def device_batch(*arguments):
        with jax.transfer_guard_host_to_device("allow"):
            return make_batch(*arguments)

    class Watched(loop.StepBank):
        def __getitem__(self, phase):
            compiled = super().__getitem__(phase)

            def step(state, batch):
                taken = jax.tree.leaves(state)
                assert not returned or all(a is b for a, b in zip(taken, returned[-1], strict=True))
                with jax.transfer_guard_host_to_device("disallow_explicit"):
                    state, metrics = compiled(state, batch)
                returned.append(jax.tree.leaves(state))
                crops_seen.append(phase.crop_px)
                return state, metrics

            return step

    monkeypatch.setattr(loop, "StepBank", Watched)
    monkeypatch.setattr(loop, "device_batch", device_batch)
    loop.train(make_run("coarse2fine+", epochs=4, num_sizes=2))
    assert len(set(crops_seen)) == 2 and crops_seen != sorted(crops_seen)


@pytest.mark.slow
@pytest.mark.essential("training that goes on, to the bit")
def test_resumed_run_ends_with_the_same_bits_as_an_uninterrupted_one(make_run, tmp_path):
    whole = make_run(directory=tmp_path / "whole")
    expected, _ = loop.train(whole)
    total = int(expected.step)

    class Killed(Exception):
        pass

    def until(step, run):
        def batches(start):
            for i, batch in enumerate(run.batches(start)):
                if start + i == step:
                    raise Killed
                yield batch

        return batches

    for stop in (3, 4, total - 1):
        killed = make_run(directory=tmp_path / "stopped", checkpoint_every_s=0, batches=until(stop, whole))
        with pytest.raises(Killed):
            loop.train(killed)
        assert killed.checkpoints.latest_step() is None or killed.checkpoints.latest_step() <= stop
        killed.checkpoints.close()  # it still writes, which a dead process does not
    state, compilations = loop.train(make_run(directory=tmp_path / "stopped"))
    assert_same(state, expected)
    assert len(compilations) == 1, "epochs that are over were compiled again"
    again, none = loop.train(make_run(directory=tmp_path / "stopped"))
    assert_same(again, expected)
    assert not none
    assert [line["step"] for line in lines(tmp_path / "stopped")] == [
        line["step"] for line in lines(tmp_path / "whole")
    ]


def test_training_that_goes_on_holds_its_state_once(make_run):
    """What was restored stayed beside it to the end: a run that had fitted the devices did no longer, once resumed."""
    held = []
    for _ in range(2):
        run = make_run("constant", epochs=1)

        def batches(start, run=run):
            gc.collect()
            held.append(sum(array.nbytes for array in jax.live_arrays()))
            return run.batches(start)

        loop.train(dataclasses.replace(run, batches=batches))
        run.checkpoints.close()
        del run, batches
    assert held[1] <= held[0]


def test_checkpoints_are_as_far_apart_as_asked_for(make_run, monkeypatch):
    now, saved = [0.0], []
    clock = types.SimpleNamespace(monotonic=lambda: now[0], perf_counter=time.perf_counter)
    run = make_run("constant", epochs=4, checkpoint_every_s=3)

    def batches(start):  # a step takes a second
        for batch in run.batches(start):
            now[0] += 1
            yield batch

    monkeypatch.setattr(loop, "time", clock)
    monkeypatch.setattr(run.checkpoints, "save", lambda state: saved.append(int(state.step)))
    loop.train(dataclasses.replace(run, batches=batches))
    assert saved == [3, 6, 8], "the last step's in any case"


BOTH = pytest.mark.parametrize("number,name", [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")])


@pytest.mark.slow
@BOTH
def test_a_signal_saves_and_stops_and_the_handler_is_put_back(make_run, tmp_path, number, name):
    expected, _ = loop.train(make_run(directory=tmp_path / "whole"))
    before = signal.getsignal(number)
    run = make_run(directory=tmp_path / "stopped")

    def batches(start):
        for i, batch in enumerate(run.batches(start)):
            if i == 2:
                os.kill(os.getpid(), number)
            yield batch

    stopped = make_run(directory=tmp_path / "stopped", batches=batches)
    total = sum(phase.steps for phase in run.phases)
    with pytest.raises(Preempted, match=f"teacher: {name}; saved step 3 of {total}"):
        loop.train(stopped)
    assert stopped.checkpoints.latest_step() == 3
    assert signal.getsignal(number) == before
    state, _ = loop.train(make_run(directory=tmp_path / "stopped"))
    assert_same(state, expected)


@BOTH
def test_a_signal_while_a_program_is_compiled_saves_at_once(make_run, monkeypatch, number, name):
    compiling = threading.Event()

    class Slow(loop.StepBank):
        def _make(self, phase):
            compiling.wait(60)
            return super()._make(phase)

        def wait(self, phase, given_up):
            if phase.crop_px == run.phases[1].crop_px:
                os.kill(os.getpid(), number)
            return super().wait(phase, given_up)

    run = make_run("coarse2fine+", epochs=2, num_sizes=2)
    steps = run.phases[0].steps
    monkeypatch.setattr(loop, "StepBank", Slow)
    try:
        with pytest.raises(Preempted, match=f"teacher: {name}; saved step {steps} of"):
            loop.train(run)
    finally:
        compiling.set()
    assert run.checkpoints.latest_step() == steps


@pytest.mark.parametrize(
    "every_s,good", [(0, "the last good checkpoint is of step 2"), (1e9, "no checkpoint was saved")]
)
def test_non_finite_step_is_left_out_and_ends_the_training(make_run, tmp_path, every_s, good):
    run = make_run("constant", epochs=3)
    rates = run.learning_rates.copy()
    rates[2] = np.inf
    run = make_run("constant", epochs=3, learning_rates=rates, checkpoint_every_s=every_s)
    with pytest.raises(nonfinite.NonFiniteLoss) as error:
        loop.train(run)
    assert "at step 3, not finite first in the loss, the gradient or the running statistics" in str(
        error.value
    ) and good in str(error.value)
    explained = json.loads((tmp_path / "nonfinite-3.json").read_text())
    assert explained["samples"] == ["crops of step 2"] and explained["metrics"]["skipped"] == "1.0"


@pytest.mark.slow
def test_as_many_non_finite_steps_as_allowed_are_left_out(make_run, tmp_path, caplog):
    run = make_run("constant", epochs=3)
    rates = run.learning_rates.copy()
    rates[[1, 4]] = np.nan
    state, _ = loop.train(make_run("constant", epochs=3, learning_rates=rates, nonfinite_steps=2))
    assert int(state.step) == len(rates)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    assert sorted(path.name for path in tmp_path.glob("nonfinite-*.json")) == ["nonfinite-2.json", "nonfinite-5.json"]
    assert "The step was left out: 2 of 2 that are allowed." in caplog.text
    with pytest.raises(nonfinite.NonFiniteLoss, match="at step 5"):
        other = tmp_path / "other"
        loop.train(make_run("constant", epochs=3, learning_rates=rates, nonfinite_steps=1, directory=other))


def test_a_line_is_of_the_steps_that_were_not_left_out(make_run, monkeypatch, tmp_path):
    """Two steps a line: the second one is left out, and so are the third and the fourth."""

    class Broken(loop.StepBank):
        def __getitem__(self, phase):
            compiled = super().__getitem__(phase)

            def step(state, batch):
                state, metrics = compiled(state, batch)
                if int(state.step) in (2, 3, 4):
                    metrics |= {"loss": np.float32("nan"), "skipped": np.float32(1)}
                return state, metrics

            return step

    loop.train(make_run("constant", epochs=2, directory=tmp_path / "whole"))
    monkeypatch.setattr(loop, "StepBank", Broken)
    loop.train(make_run("constant", epochs=2, log_every_steps=2, nonfinite_steps=3))
    first, second = lines(tmp_path)[:2]
    assert first["skipped"] == 1 and np.isfinite(first["loss"])
    assert second["skipped"] == 2 and second["loss"] is None, "no step is left"
    assert first["loss"] != lines(tmp_path / "whole")[0]["loss"], "that is the mean of both"


def test_metrics_and_progress_line(make_run, tmp_path, caplog):
    caplog.set_level(logging.INFO, "csst_jax")
    run = make_run("constant", epochs=2)
    loop.train(run)
    total = sum(phase.steps for phase in run.phases)
    assert [line["step"] for line in lines(tmp_path)] == list(range(2, total + 1, 2))
    assert [line["epoch"] for line in lines(tmp_path)] == [0, 1], "two steps each"
    first = lines(tmp_path)[0]
    assert {
        "loss",
        "loss_main",
        "loss_early",
        "kept",
        "learning_rate",
        "images_per_s",
        "input_wait_share",
        "left_s",
    } < set(first)
    assert first["learning_rate"] == pytest.approx(run.learning_rates[1])
    assert 0 < first["kept"] <= 1 and first["crop_px"] == 48 and first["global_batch"] == 8
    assert any(tmp_path.glob("events.out.tfevents*"))
    assert f"teacher 2/{total}  loss {first['loss']:.3f}" in caplog.text
    assert "crop 48 x batch 8" in caplog.text and "input wait" in caplog.text
