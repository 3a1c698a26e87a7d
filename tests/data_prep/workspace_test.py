"""One preparation at a time, as far as the file system has locks."""

import errno
import fcntl
import os
import shutil

import pytest

from csst_jax.data import store
from csst_jax.types import CsstError
from data_prep import workspace


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_a_warning_says_so_and_the_work_goes_on(tmp_path, monkeypatch, capsys, number):
    def flock(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(workspace.fcntl, "flock", flock)
    with workspace.exclusive(tmp_path / "set") as directory:
        assert directory.is_dir()
    said = capsys.readouterr().err
    assert said.startswith(f"warning: the file system of {tmp_path} has no locks") and "two data sets" in said


def test_with_locks_the_second_is_refused(tmp_path):
    with (tmp_path / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(CsstError, match="another process is preparing"), workspace.exclusive(tmp_path / "set"):
            pass


@pytest.fixture
def replacing(tmp_path):
    """A data set, and another one that is about to replace it."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / store.METADATA_FILE).write_text("old")
    with workspace.exclusive(tmp_path / "set") as unfinished:
        (unfinished / "records").mkdir()
        (unfinished / "records" / store.METADATA_FILE).write_text("new")
        yield tmp_path / "set", unfinished


def test_what_was_there_is_back_after_a_kill_between_the_last_steps(replacing, monkeypatch, capsys):
    directory, unfinished = replacing
    moves = []

    def killed(source, to, replace=os.replace):
        moves.append(source)
        if len(moves) == 2:
            raise KeyboardInterrupt
        replace(source, to)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(workspace.os, "replace", killed)
        workspace.put_in_place(unfinished / "records", directory, unfinished)
    assert not directory.exists()
    workspace.restore(directory)
    assert not directory.exists(), "a process that holds the lock may be about to put it there"
    monkeypatch.setattr(workspace.fcntl, "flock", lambda *_: None)  # it is dead
    workspace.restore(directory)
    assert (directory / store.METADATA_FILE).read_text() == "old" and (unfinished / "records").is_dir()
    assert "The data set before it is back" in capsys.readouterr().out


def test_what_was_replaced_is_not_brought_back(replacing, monkeypatch):
    directory, unfinished = replacing
    monkeypatch.setattr(workspace.fcntl, "flock", lambda *_: None)
    workspace.put_in_place(unfinished / "records", directory, unfinished)
    workspace.restore(directory)
    assert (directory / store.METADATA_FILE).read_text() == "new"
    shutil.rmtree(directory)  # somebody wants it away
    workspace.restore(directory)
    assert not directory.exists()
