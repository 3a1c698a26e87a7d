"""Whole runs on a tiny data set, in this process, with the toy network."""

import contextlib
import shutil

import pytest

from csst_jax import pipeline
from csst_jax.models import zoo
from csst_jax.settings import resolve
from csst_jax.stages import train
from tests.pipeline.outcomes import toy_config


@contextlib.contextmanager
def toy():
    """The toy network is in the zoo."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
        yield


@pytest.fixture(scope="module", autouse=True)
def toy_in_the_zoo():
    with toy():
        yield


@pytest.fixture
def config(tiny_config, tiny_data):
    return toy_config(tiny_config, tiny_data)


@pytest.fixture(scope="session")
def finished(tiny_config, tiny_data, tmp_path_factory):
    """A finished run's workdir and results; read-only, and one for all files that a worker has."""
    workdir = tmp_path_factory.mktemp("run")
    config = toy_config(tiny_config, tiny_data)
    config.stages = "teacher,label,student,baseline,evaluate"
    with toy():  # fixtures of a session come before those of a file
        return workdir, pipeline.run(resolve.run(config), workdir)


@pytest.fixture
def copy(finished, tmp_path):
    """A finished run that a test may spoil."""
    return shutil.copytree(finished[0], tmp_path / "run")


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_):
        raise AssertionError("a stage was trained")

    monkeypatch.setattr(train, "train", refuse)
