"""Files on a disk and in a bucket: whole or not there, and copied where libraries can read them."""

import importlib.util
import os
import pathlib
import time

import pytest

from csst_jax.runtime import storage
from csst_jax.types import CsstError


@pytest.fixture(params=["disk", "bucket"])
def directory(request, bucket, tmp_path):
    """A directory on a disk, and one in a bucket."""
    return tmp_path / "run" if request.param == "disk" else storage.as_path("gs://bucket/run")


def write(path, text):
    with storage.replacing(path) as made:
        assert isinstance(made, pathlib.Path)
        made.write_text(text)


def test_a_file_takes_the_place_of_the_one_before(directory):
    for text in ("one", "two"):
        write(directory / "below" / "results.json", text)
        assert (directory / "below" / "results.json").read_text() == text
    assert [name for name, _ in storage.files_below(directory)] == ["below/results.json"]


def test_a_failure_leaves_the_old_file_whole_and_nothing_else(directory):
    write(directory / "results.json", "one")
    with pytest.raises(OSError, match="disk full"), storage.replacing(directory / "results.json") as made:
        made.write_text("tw")
        raise OSError("disk full")
    assert (directory / "results.json").read_text() == "one"
    assert [name for name, _ in storage.files_below(directory)] == ["results.json"]


def test_files_below_are_those_of_all_directories_in_order(directory):
    for name in ("b", "a/c", "a/b/d"):
        write(directory / name, name)
    assert [name for name, _ in storage.files_below(directory)] == ["a/b/d", "a/c", "b"]
    assert [path.read_text() for _, path in storage.files_below(directory)] == ["a/b/d", "a/c", "b"]
    assert storage.files_below(directory / "nowhere") == []


def test_a_directory_is_moved_with_all_that_is_in_it(directory):
    for name in ("run/b", "run/a/c"):
        write(directory / name, name)
    storage.move(directory / "run", directory / "moved")
    assert [(name, path.read_text()) for name, path in storage.files_below(directory)] == [
        ("moved/a/c", "run/a/c"), ("moved/b", "run/b"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path,said", [("", "--workdir=: a path is empty"), ("~nobody_of_this_name", "no home directory")]
)
def test_what_is_no_place_is_told_with_its_flag(path, said):
    with pytest.raises(CsstError, match=said):
        storage.as_path(path, "--workdir")


def test_a_local_file_is_itself(tmp_path, bucket):
    assert storage.local_file(tmp_path / "file") == tmp_path / "file" and bucket.read == []


def test_an_object_is_copied_once_until_it_is_another(bucket):
    bucket.put("run/labels", b"old", written_s=1)
    path = storage.as_path("gs://bucket/run/labels")
    first = storage.local_file(path)
    assert first.read_bytes() == b"old" and storage.local_file(path) == first and bucket.read == ["run/labels"]
    bucket.put("run/labels", b"new", written_s=2)
    assert storage.local_file(path).read_bytes() == b"new" and first.read_bytes() == b"old"


def test_an_object_that_arrives_in_part_is_not_taken(bucket):
    bucket.put("run/labels", b"whole")
    bucket.cut.add("labels")
    path = storage.as_path("gs://bucket/run/labels")
    with pytest.raises(CsstError, match="gs://bucket/run/labels has 5 bytes, and 2 arrived"):
        storage.local_file(path)
    bucket.cut.clear()
    assert storage.local_file(path).read_bytes() == b"whole"


def test_what_grows_is_copied_now_and_then_and_at_the_end(bucket, monkeypatch):
    monkeypatch.setattr(storage, "_COPY_EVERY_S", 0.05)
    bucket.put("run/log.txt", b"before\n")
    mirror = storage.Mirror(storage.as_path("gs://bucket/run"))
    mirror.fetch("log.txt")
    mirror.fetch("metrics.jsonl")  # not there
    file = (mirror.directory / "log.txt").open("a")
    file.write("meanwhile\n")
    file.flush()
    give_up = time.monotonic() + 30
    while bucket.content("run/log.txt") != b"before\nmeanwhile\n" and time.monotonic() < give_up:
        time.sleep(0.05)
    assert bucket.content("run/log.txt") == b"before\nmeanwhile\n"
    file.write("last\n")
    file.close()
    mirror.close()
    assert bucket.content("run/log.txt") == b"before\nmeanwhile\nlast\n" and bucket.names() == ["run/log.txt"]
    assert not mirror.directory.exists()


def test_a_copy_that_fails_is_made_again(bucket, monkeypatch):
    monkeypatch.setattr(storage, "_COPY_EVERY_S", 0.05)
    bucket.denied.add("log.txt")
    mirror = storage.Mirror(storage.as_path("gs://bucket/run"))
    (mirror.directory / "log.txt").write_text("line\n")
    time.sleep(0.3)
    assert bucket.names() == []
    bucket.denied.clear()
    mirror.close()
    assert bucket.content("run/log.txt") == b"line\n"


def test_places_are_absolute_and_of_known_kinds(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert storage.as_path("runs/../run") == tmp_path / "run" and storage.as_path("~") == pathlib.Path.home()
    assert os.fspath(storage.as_path("gs://bucket/run")) == "gs://bucket/run"
    with pytest.raises(CsstError, match="--workdir=s3://bucket/run: gs:// is the only object storage"):
        storage.as_path("s3://bucket/run", "--workdir")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(CsstError, match="--workdir=gs://bucket/run needs gcsfs: .*requirements-gcs.txt"):
        storage.as_path("gs://bucket/run", "--workdir")


@pytest.mark.parametrize("path,remote", [("gs://b/d", True), ("data/mine", False), (pathlib.Path("/data"), False)])
def test_what_is_remote(path, remote):
    assert storage.is_remote(path) == remote
