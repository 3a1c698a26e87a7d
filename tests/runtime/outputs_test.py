"""Places to write to are looked at before any work."""

import errno
import os
import pathlib

import pytest

from csst_jax import export_weights, import_weights
from csst_jax.runtime import outputs, storage
from csst_jax.types import CsstError


@pytest.fixture
def there(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    return tmp_path


@pytest.mark.parametrize(
    "where,said",
    [
        ("file", "file is a file; move that, or give another --workdir"),
        ("file/sub", "sub lies below .*/file, which is a file; move that"),
        ("file/sub/sub", "lies below .*/file, which is a file; move that"),
        ("x" * 300, "give another --workdir"),
    ],
)
def test_a_directory_that_cannot_be_one_is_refused(there, where, said):
    with pytest.raises(CsstError, match=f"--workdir=.*{said}"):
        outputs.directory(there / where, "--workdir")


@pytest.mark.parametrize("where", ["directory", "directory/new/run", "new", "dangling"])
def test_a_directory_that_can_be_made_is_allowed(there, where):
    assert outputs.directory(there / where, "--workdir") == (there / where).resolve()
    assert not (there / "new").exists() and not (there / "directory" / "new").exists(), "nothing is made yet"


@pytest.mark.parametrize(
    "where,said",
    [
        ("directory", "is a directory; give the name of a file, such as .*directory/directory"),
        ("file/x.pth", "lies below .*/file, which is a file; move that"),
        ("file/sub/x.pth", "lies below .*/file, which is a file; move that"),
    ],
)
def test_a_file_that_cannot_be_one_is_refused(there, where, said):
    with pytest.raises(CsstError, match=f"--out=.*{said}"):
        outputs.file(there / where, "--out")
    with pytest.raises(CsstError, match=f"--out=.*{said}"):
        import_weights.import_weights("mmseg", "none.pth", "fast_scnn", str(there / where))
    with pytest.raises(CsstError, match=f"--out=.*{said}"):
        export_weights.export_weights("mmseg", "none.safetensors", str(there / where))


@pytest.mark.parametrize("looked_at", [outputs.directory, outputs.file, storage.as_path])
def test_an_empty_path_is_not_the_current_directory(looked_at):
    with pytest.raises(CsstError, match="--workdir=: a path is empty; give"):
        looked_at("", "--workdir")


def test_a_directory_without_permission_is_refused(there, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: pathlib.Path(path) != there / "directory")
    with pytest.raises(CsstError, match="nothing can be written to .*/directory; fix its permissions"):
        outputs.directory(there / "directory" / "run", "--workdir")


def test_a_home_directory_that_nobody_knows_is_told():
    with pytest.raises(CsstError, match="--workdir=~nobody-here/run: .*there is no home directory"):
        outputs.directory("~nobody-here/run", "--workdir")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST])
def test_what_a_disk_refuses_is_told_with_the_fix(number, tmp_path):
    said = f"/a: {os.strerror(number)}; .*, then run the same command again"
    with pytest.raises(CsstError, match=rf"{said}\.$"), outputs.errors_told(tmp_path):
        raise OSError(number, os.strerror(number), "/a")
    with (
        pytest.raises(CsstError, match=f"{said}: it continues"),
        outputs.errors_told(tmp_path, goes_on=True),
    ):
        raise OSError(number, os.strerror(number), "/a")
    with pytest.raises(ConnectionResetError), outputs.errors_told(tmp_path):
        raise ConnectionResetError(errno.ECONNRESET, "reset")


def test_copies_go_to_a_temporary_directory_where_there_is_no_home(there, monkeypatch, capsys):
    monkeypatch.setattr(storage.tempfile, "tempdir", str(there / "directory"))
    found = storage.cache.__wrapped__(str(there / "file" / "cache"))
    assert found.parent == there / "directory" and "warning: " in capsys.readouterr().err
    found = storage.cache.__wrapped__("~nobody-here/cache")
    assert found.parent == there / "directory" and "warning: ~nobody-here/cache" in capsys.readouterr().err
    assert storage.cache.__wrapped__(str(there / "new")) == there / "new" and not capsys.readouterr().err
