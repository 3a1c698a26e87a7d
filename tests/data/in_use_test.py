"""What a run reads is not replaced."""

import errno
import os

import pytest

from csst_jax.data import in_use
from csst_jax.data.chosen import Data
from csst_jax.types import CsstError
from data_prep import workspace


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A version directory, as far as the locks look at it."""
    version = tmp_path / "mine" / "1.0.0"
    version.mkdir(parents=True)
    monkeypatch.setattr(in_use, "find_prepared", lambda directory: version)
    return version


def refuses(entered, words):
    with pytest.raises(CsstError, match=words), entered:
        raise AssertionError


def test_a_data_set_is_not_prepared_again_while_runs_read_it(prepared):
    with in_use.read_by_a_run(["mine"]), in_use.read_by_a_run(["mine"]):
        refuses(workspace.exclusive(prepared), f"a run is reading {prepared}")
    with workspace.exclusive(prepared) as made:
        assert made.is_dir()


def test_no_run_starts_while_its_data_set_is_prepared_again(prepared):
    with workspace.exclusive(prepared):
        refuses(in_use.read_by_a_run(["mine"]), "is being prepared again")
    with in_use.read_by_a_run(["mine"]):
        pass


@pytest.mark.parametrize("directory", ["", "gs://bucket/mine"])
def test_what_is_no_directory_has_no_lock(prepared, directory):
    with in_use.read_by_a_run([directory]), workspace.exclusive(prepared):
        pass


def test_a_data_set_of_others_can_be_read_without_a_lock(prepared, monkeypatch):
    def refused(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(in_use.fcntl, "flock", refused)
    with in_use.read_by_a_run(["mine"]), in_use.written_alone(prepared):
        pass


def test_joined_data_sets_are_in_use_too(tmp_path, monkeypatch):
    """Whatever key names them."""
    versions = {name: tmp_path / name / "1.0.0" for name in ("own", "masks", "pool")}
    for version in versions.values():
        version.mkdir(parents=True)
    monkeypatch.setattr(in_use, "find_prepared", lambda directory: versions[directory.name])
    data = Data("own", "train", "val", "", "x/masks:train,gs://b/c:train", "x/pool:train:3,nonsense")
    with in_use.read_by_a_run(data.directories()):
        for version in versions.values():
            refuses(workspace.exclusive(version), f"a run is reading {version}")
    with workspace.exclusive(versions["pool"]):
        refuses(in_use.read_by_a_run(data.directories()), f"{versions['pool']} is being prepared again")
