"""The schedule's benchmark, on a network and images of a test's size."""

import json

import jax
import numpy as np
import pytest

from benchmarks import schedule
from csst_jax.models import zoo
from csst_jax.train.compile import StepBank


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    caching = jax.config.jax_enable_compilation_cache
    yield
    jax.config.update("jax_enable_compilation_cache", caching)


@pytest.mark.slow
@pytest.mark.essential("a benchmark")
def test_both_schedules_train_and_the_last_line_is_json(tiny_data, capsys):
    arguments = [f"--data_dir={tiny_data}", "--network=toy", "--cold_network=toy", "--crop_px=64", "--batch=8"]
    assert schedule.main([*arguments, "--samples=16", "--cold_samples=0", "--pairs=2", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])
    assert found["speedup"]["toy"] > 0 and found["pixels"]["toy"] == 2.0
    assert len(found["compile_s"]["toy"]) == 2 and "stall_s" not in found
    row = next(line for line in lines if line.startswith("| toy"))
    assert row.split(" | ")[1] == "96, 144"  # epochs of 32 px take whole batches of 32: what is compared is a sample


@pytest.mark.slow
def test_the_run_that_compiles_while_it_trains_alone(tiny_data, capsys):
    arguments = [f"--data_dir={tiny_data}", "--cold_network=toy", "--crop_px=64", "--batch=8"]
    assert schedule.main([*arguments, "--cold_samples=32", "--pairs=0", "--json"]) == 0
    text = capsys.readouterr().out
    found = json.loads(text.splitlines()[-1])
    assert len(found["cold_compile_s"]) == 2 and "speedup" not in found and "| network" not in text
    assert 0 <= found["stall_s"] <= found["longest_gap_s"] and found["median_gap_s"] <= found["longest_gap_s"]


@pytest.mark.slow
def test_nothing_but_batches_reaches_the_device_between_steps(tiny_data):
    parser = schedule.argparse.Namespace(data_dir=str(tiny_data), crop_px=64, batch=8)
    setting = schedule.Setting("toy", parser, 16)
    phases = setting.phases("coarse2fine+")

    class Round(StepBank):
        """Takes the state to the host and gives it back at every step."""

        def __getitem__(self, phase):
            step = super().__getitem__(phase)
            return lambda state, batch: step(jax.tree.map(np.asarray, state), batch)

    run = setting.run(phases, StepBank(setting.recipe, phases))
    assert len(run.ended) == 1 + sum(phase.steps for phase in phases) and run.seconds > run.waited >= 0
    with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
        setting.run(phases, Round(setting.recipe, phases))


def test_a_missing_data_set_is_told(tmp_path, capsys):
    assert schedule.main([f"--data_dir={tmp_path}"]) == 2
    assert "holds no prepared data set" in capsys.readouterr().err
