"""Networks of earlier epochs."""

import dataclasses

import numpy as np
import pytest

from csst_jax.methods.average import WeightAverage
from csst_jax.methods.averaged import Averaged
from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.models.weights import files
from csst_jax.stages import snapshots
from csst_jax.stages.snapshots import DIRECTORY, Snapshots
from csst_jax.types import Phase
from tests.train.conftest import toy_recipe


def test_those_of_an_attempt_with_another_timetable_are_removed(tmp_path):
    kept = Snapshots(tmp_path, None, [Phase(64, 8, steps=10)] * 6, 2, None)
    (tmp_path / DIRECTORY).mkdir()
    for step in (*kept.steps, 7):
        (tmp_path / DIRECTORY / f"{step:08d}.safetensors").touch()
    kept.begin(0)
    assert {int(path.stem) for path in (tmp_path / DIRECTORY).iterdir()} == set(kept.steps)


def test_what_predicts_is_kept(tmp_path):
    """After a step that moved the weights, and not their average."""
    recipe = toy_recipe()
    recipe = dataclasses.replace(recipe, method=Averaged(WeightAverage(0.5), recipe.method.parts, recipe.method))
    state = recipe.initial_state(*recipe.method.trained())
    moved = dataclasses.replace(state, params={name: value + 1 for name, value in state.params.items()})
    about = files.Description("toy", {}, 3, files.TRAINED_HERE, "", IMAGENET)
    kept = Snapshots(tmp_path, recipe, [Phase(64, 8, steps=10)] * 6, 2, about)
    assert kept.steps == (20, 40)
    kept.look(20, moved, None, None)
    arrays, description = files.read(tmp_path / DIRECTORY / "00000020.safetensors")
    assert description.steps == 20 and arrays.keys() == state.params.keys() | state.batch_stats.keys()
    for name, value in state.params.items():
        np.testing.assert_array_equal(arrays[name], value, err_msg=name)


@pytest.mark.parametrize("process", [0, 1])
def test_measured_statistics_take_the_place_of_running_ones(tmp_path, monkeypatch, process):
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    network = nnx_io.create(zoo.builder("toy", 3), 0)
    params, stats = (
        {name: np.asarray(value) for name, value in part.items()} for part in (network.params, network.batch_stats)
    )
    about = files.Description("toy", {}, 3, files.TRAINED_HERE, "", IMAGENET)
    (tmp_path / DIRECTORY).mkdir()
    for step in (2, 4):
        path = tmp_path / DIRECTORY / f"{step:08d}.safetensors"
        files.write(path, params | stats, dataclasses.replace(about, steps=step))
    asked = []

    def measured(own, its):
        asked.append(own.keys())
        return {name: value + len(asked) for name, value in its.items()}

    monkeypatch.setattr(snapshots.jax, "process_index", lambda: process)
    snapshots.measure(tmp_path, measured)
    assert asked == [params.keys()] * 2, "of all processes"
    for number, found in enumerate(snapshots.read(tmp_path, 2), 1):
        assert found.steps == 2 * number
        for name, value in found.weights[1].items():
            np.testing.assert_array_equal(value, stats[name] + number * (process == 0))
        assert all(np.array_equal(found.weights[0][name], value) for name, value in params.items())
