"""Data sets on object storage, on an emulation of what epath asks of a bucket: no renames, no writes, no locks."""

import fnmatch
import io
import os
import pathlib
import shutil

import pytest
from etils.epath import backend, stat_utils

from csst_jax.data import joined, object_store
from csst_jax.data.store import METADATA_FILE, DataSet
from csst_jax.types import CsstError

ROOT = "gs://bucket"


class Bucket(backend.Backend):
    """A directory as a bucket. Reading a name of `broken` ends in the middle; of `denied`, fails."""

    def __init__(self, directory):
        self.directory, self.read, self.broken, self.denied = directory, [], set(), set()

    def local(self, path):
        assert os.fspath(path).startswith(ROOT), path
        return self.directory / os.fspath(path).removeprefix(ROOT).lstrip("/")

    def open(self, path, mode):
        name = self.local(path).name
        if name in self.denied:
            raise PermissionError(f"403 {path}")
        self.read.append(name)
        content = self.local(path).read_bytes()
        assert mode == "rb"
        return io.BytesIO(content[: len(content) // 2] if name in self.broken else content)

    def exists(self, path):
        return self.local(path).exists()

    def isdir(self, path):
        return self.local(path).is_dir()

    def listdir(self, path):
        return os.listdir(self.local(path))

    def glob(self, path):
        pattern = os.fspath(path).removeprefix(f"{ROOT}/")
        names = (file.relative_to(self.directory).as_posix() for file in self.directory.rglob("*"))
        same_depth = (name for name in names if name.count("/") == pattern.count("/"))
        return [f"{ROOT}/{name}" for name in same_depth if fnmatch.fnmatch(name, pattern)]

    def stat(self, path):
        stat = self.local(path).stat()
        return stat_utils.StatResult(self.local(path).is_dir(), stat.st_size, int(stat.st_mtime))

    def refuse(self, *arguments, **_):
        raise OSError(f"an object store does not do this: {arguments}")

    walk = makedirs = mkdir = rmtree = remove = rename = replace = copy = refuse


@pytest.fixture
def bucket(tiny_data, tmp_path, monkeypatch):
    directory = tmp_path / "bucket"
    shutil.copytree(tiny_data, directory / "data" / "tiny" / "1.0.0")
    emulated = Bucket(directory)
    for name in ("tf_backend", "fsspec_backend"):  # epath takes the first where TensorFlow is installed
        monkeypatch.setattr(backend, name, emulated)
    monkeypatch.setattr(object_store, "CACHE", str(tmp_path / "cache"))
    return emulated


def prepared(bucket):
    return bucket.directory / "data" / "tiny" / "1.0.0"


@pytest.mark.parametrize("place", ["data", "data/tiny", "data/tiny/1.0.0"])
def test_a_remote_data_set_is_the_local_one(bucket, tiny_data, place):
    remote, local = DataSet.open(f"{ROOT}/{place}"), DataSet.open(tiny_data)
    assert remote.description == local.description and remote.splits == local.splits
    for split in local.splits:
        assert remote.ids(split) == local.ids(split)
        assert remote.source(split).pair_bytes(0) == local.source(split).pair_bytes(0)
        assert remote.centroids(split).labels_sha256 == local.centroids(split).labels_sha256
    assert remote.directory.parts[-2:] == ("tiny", "1.0.0")


def test_what_is_there_is_not_copied_again(bucket):
    first = DataSet.open(f"{ROOT}/data")
    assert sorted(bucket.read) == sorted(os.listdir(first.directory)) == sorted(os.listdir(prepared(bucket)))
    bucket.read.clear()
    assert DataSet.open(f"{ROOT}/data").directory == first.directory and bucket.read == []


def test_a_data_set_prepared_again_is_copied_beside_the_old_copy(bucket):
    old = DataSet.open(f"{ROOT}/data")
    os.utime(prepared(bucket) / METADATA_FILE, (1, 1))
    new = DataSet.open(f"{ROOT}/data")
    assert new.directory != old.directory and (old.directory / METADATA_FILE).exists()


def test_a_file_that_arrives_in_part_is_not_taken_and_the_rest_is_kept(bucket):
    bucket.broken.add(METADATA_FILE)
    with pytest.raises(CsstError, match=rf"{ROOT}/data/tiny/1.0.0/{METADATA_FILE} has \d+ bytes, and \d+ arrived"):
        DataSet.open(f"{ROOT}/data")
    kept = {path.name for path in pathlib.Path(object_store.CACHE).rglob("*") if path.is_file()}
    assert METADATA_FILE not in kept and not any(name.endswith(".tmp") for name in kept)
    bucket.broken.clear()
    bucket.read.clear()
    copied = DataSet.open(f"{ROOT}/data")
    assert set(bucket.read) == set(os.listdir(prepared(bucket))) - kept
    assert sorted(os.listdir(copied.directory)) == sorted(os.listdir(prepared(bucket)))


def test_a_file_that_must_not_be_read_is_told_with_the_mend(bucket):
    bucket.denied.add(METADATA_FILE)
    with pytest.raises(CsstError, match=rf"cannot copy {ROOT}/data to .*: 403 {ROOT}/.*may read it"):
        DataSet.open(f"{ROOT}/data")


def test_nothing_prepared_is_told_as_on_a_disk(bucket):
    with pytest.raises(CsstError, match=f"data set directory {ROOT}/other does not exist. Name what"):
        DataSet.open(f"{ROOT}/other")


def test_joined_data_sets_may_be_remote(bucket):
    ((data, split),) = joined.named_splits(f"{ROOT}/data/tiny:train", "data.more_labelled")
    assert split == "train" and len(data.ids("train")) == 8


@pytest.mark.parametrize("path,remote", [("gs://b/d", True), ("data/mine", False), (pathlib.Path("/data"), False)])
def test_what_is_remote(path, remote):
    assert object_store.is_remote(path) == remote
