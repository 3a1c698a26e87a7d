"""The label stage with predictions that need no network."""

import dataclasses

import numpy as np
import pytest

from csst_jax.data.store import DataSet
from csst_jax.settings import resolve
from csst_jax.stages import label
from csst_jax.stages.artifact import Artifact, Request
from tests.stages.guesser import Guesser
from tests.stages.label.parts import TEACHER, experiment


@pytest.fixture
def config(tiny_config, tiny_data):
    return tiny_config(tiny_data)


@pytest.fixture
def selection(config, tiny_data):
    return resolve.data(config).training(DataSet.open(tiny_data))


@pytest.fixture
def run(config, selection, tmp_path, monkeypatch):
    """Runs the stage with predictions that need no network; messages would name the windows' key."""
    guesser = {"label.window_px": Guesser(selection)}
    monkeypatch.setattr(label.build, "predictor", lambda *_, window_key, **__: guesser[window_key])

    def run(directory="pseudo_labels"):
        artifact = Artifact(tmp_path / directory, Request({"settings": config.label.to_dict()}))
        return label.run(experiment(config, selection), artifact, TEACHER).images

    return run


def second_and_third(prediction):
    """The predictions of `Guesser`, with two more classes of 0.05 and 0.02."""
    ranked = [((prediction.classes + n) % 4, np.full_like(prediction.confidence, p)) for n, p in ((1, 0.05), (2, 0.02))]
    return dataclasses.replace(prediction, runner_up=ranked[0][0], runner_up_confidence=ranked[0][1], further=ranked[1])


@pytest.fixture
def run_soft(run, config, monkeypatch):
    """The stage with three classes a pixel."""
    config.label.soft.k, config.label.confidence_threshold = 3, 0.5
    plain = Guesser.__call__
    monkeypatch.setattr(Guesser, "__call__", lambda *given: map(second_and_third, plain(*given)))
    return run
