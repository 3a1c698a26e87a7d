"""Networks of earlier epochs."""

import dataclasses

import numpy as np
import pytest

from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.models.weights import files
from csst_jax.stages import snapshots
from csst_jax.stages.snapshots import DIRECTORY, Snapshots
from csst_jax.types import Phase


def test_those_of_an_attempt_with_another_timetable_are_removed(tmp_path):
    kept = Snapshots(tmp_path, None, [Phase(64, 8, steps=10)] * 6, 2, None)
    (tmp_path / DIRECTORY).mkdir()
    for step in (*kept.steps, 7):
        (tmp_path / DIRECTORY / f"{step:08d}.safetensors").touch()
    kept.begin(0)
    assert {int(path.stem) for path in (tmp_path / DIRECTORY).iterdir()} == set(kept.steps)


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
