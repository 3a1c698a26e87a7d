"""One preparation at a time, as far as the file system has locks."""

import errno
import fcntl
import os

import pytest

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
