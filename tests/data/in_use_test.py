"""What a run reads is not replaced."""

import errno
import fcntl
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


def refused_with(number):
    def refused(file, how):
        raise OSError(number, os.strerror(number))

    return refused


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_data_set_can_be_read_where_there_are_no_locks(prepared, monkeypatch, capsys, number):
    monkeypatch.setattr(in_use.fcntl, "flock", refused_with(number))
    with in_use.read_by_a_run(["mine"]), in_use.written_alone(prepared):
        pass
    assert capsys.readouterr().err == ""


def test_a_data_set_of_others_can_be_read_without_a_lock(prepared, monkeypatch, capsys):
    def no_right(path, how):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(in_use, "open", no_right, raising=False)
    with in_use.read_by_a_run(["mine"]):
        pass
    assert capsys.readouterr().err == ""


def test_any_other_reason_for_no_lock_is_told(prepared, monkeypatch, capsys):
    monkeypatch.setattr(in_use.fcntl, "flock", refused_with(errno.EIO))
    with in_use.read_by_a_run(["mine"]):
        pass
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {prepared} cannot be locked (") and "do not prepare it again" in said


def test_nfs_shares_a_lock_of_a_file_that_can_be_read(prepared, monkeypatch):
    """It makes flock a lock of a range of bytes, for which the kernel asks that."""
    lock = fcntl.flock

    def as_on_nfs(file, how):
        if (how & fcntl.LOCK_SH and not file.readable()) or (how & fcntl.LOCK_EX and not file.writable()):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        lock(file, how)

    monkeypatch.setattr(in_use.fcntl, "flock", as_on_nfs)
    with in_use.read_by_a_run(["mine"]):
        refuses(in_use.written_alone(prepared), f"a run is reading {prepared}")


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
