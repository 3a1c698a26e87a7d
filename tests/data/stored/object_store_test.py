"""Data sets on object storage, on an emulation of Google's."""

import importlib.util
import os
import pathlib

import pytest

from csst_jax.data import joined
from csst_jax.data.store import METADATA_FILE, DataSet
from csst_jax.data.stored import object_store
from csst_jax.types import CsstError

ROOT = "gs://bucket"
PREPARED = "data/tiny/1.0.0/"


@pytest.fixture(autouse=True)
def uploaded(bucket, tiny_data):
    for path in tiny_data.iterdir():
        bucket.put(PREPARED + path.name, path.read_bytes())
    return sorted(path.name for path in tiny_data.iterdir())


@pytest.mark.parametrize("place", ["data", "data/tiny", "data/tiny/1.0.0"])
def test_a_remote_data_set_is_the_local_one(bucket, tiny_data, place):
    remote, local = DataSet.open(f"{ROOT}/{place}"), DataSet.open(tiny_data)
    assert remote.description == local.description and remote.splits == local.splits
    for split in local.splits:
        assert remote.ids(split) == local.ids(split)
        assert remote.reader(split).pair_bytes(0) == local.reader(split).pair_bytes(0)
        assert remote.centroids(split).labels_sha256 == local.centroids(split).labels_sha256
    assert remote.directory.parts[-2:] == ("tiny", "1.0.0")


def test_what_is_there_is_not_copied_again(bucket, uploaded):
    first = DataSet.open(f"{ROOT}/data")
    assert sorted(bucket.read) == [PREPARED + name for name in uploaded]
    assert sorted(os.listdir(first.directory)) == uploaded
    bucket.read.clear()
    assert DataSet.open(f"{ROOT}/data").directory == first.directory and bucket.read == []


def test_a_data_set_prepared_again_is_copied_beside_the_old_copy(bucket):
    old = DataSet.open(f"{ROOT}/data")
    bucket.put(PREPARED + METADATA_FILE, bucket.content(PREPARED + METADATA_FILE), written_s=1)
    new = DataSet.open(f"{ROOT}/data")
    assert new.directory != old.directory and (old.directory / METADATA_FILE).exists()


def test_a_file_that_arrives_in_part_is_not_taken_and_the_rest_is_kept(bucket, uploaded):
    bucket.cut.add(METADATA_FILE)
    with pytest.raises(CsstError, match=rf"{ROOT}/data/tiny/1.0.0/{METADATA_FILE} has \d+ bytes, and \d+ arrived"):
        DataSet.open(f"{ROOT}/data")
    kept = {path.name for path in pathlib.Path(object_store.CACHE).rglob("*") if path.is_file()}
    assert METADATA_FILE not in kept and not any(name.endswith(".tmp") for name in kept)
    bucket.cut.clear()
    bucket.read.clear()
    copied = DataSet.open(f"{ROOT}/data")
    assert set(bucket.read) == {PREPARED + name for name in set(uploaded) - kept}
    assert sorted(os.listdir(copied.directory)) == uploaded


def test_a_file_that_must_not_be_read_is_told_with_the_fix(bucket):
    bucket.denied.add(METADATA_FILE)
    with pytest.raises(CsstError, match=rf"cannot copy {ROOT}/data to .*: Forbidden(?s:.*)may read it"):
        DataSet.open(f"{ROOT}/data")


def test_what_has_to_be_installed_is_told(bucket, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(CsstError, match=f"data.dir={ROOT}/data needs gcsfs: .*requirements-gcs.txt"):
        DataSet.open(f"{ROOT}/data")


def test_nothing_prepared_is_told_as_on_a_disk(bucket):
    with pytest.raises(CsstError, match=f"data set directory {ROOT}/other does not exist. Name what"):
        DataSet.open(f"{ROOT}/other")


def test_joined_data_sets_may_be_remote(bucket):
    (part,) = joined.labelled_splits(f"{ROOT}/data/tiny:train", "data.more_labelled")
    assert part.split == "train" and len(part.dataset.ids("train")) == 8
    (part,) = joined.pools(f"{ROOT}/data/tiny:train:3", "data.more_unlabelled")
    assert part.unlabelled == (0, 2, 5)
