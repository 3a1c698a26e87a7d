"""Preparing shows all or nothing, needs no network, and does nothing twice."""

import errno
import fcntl
import io
import os
import resource
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from csst_jax.data.store import DataSet
from csst_jax.data.stored import centroid_index
from csst_jax.types import CsstError, DatasetDescription
from data_prep import builder
from data_prep.problems import Problems
from data_prep.raw import RawExample
from tests.data_prep import replicas

DESCRIPTION = DatasetDescription("tiny", ("ground", "thing", "rare"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))


def examples(count=4, value=0):
    for i in range(count):
        stream = io.BytesIO()
        Image.new("RGB", (9, 7), (i, 0, 0)).save(stream, format="JPEG")
        label = np.full((7, 9), value, np.uint8)
        label[i : i + 2, 2:4] = 1
        yield RawExample(f"{i:02d}", stream.getvalue(), label, labelled=True)


def failing(error):
    yield from examples(2)
    raise error


def prepare(data_dir, train=None, source="source", **settings):
    splits = {"train": examples() if train is None else train}
    return builder.prepare(DESCRIPTION, splits, data_dir, source_sha256=source, **settings)


def left_behind(data_dir):
    return sorted(p.name for p in (data_dir / "tiny").iterdir() if not p.name.startswith("."))


def test_stores_without_network_beam_or_noise(tmp_path, monkeypatch, capsys):
    def no_network(*_):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    directory = prepare(tmp_path)
    assert directory == tmp_path / "tiny" / builder.VERSION
    assert "apache_beam" not in sys.modules
    output = capsys.readouterr()
    assert not [line for line in output.err.splitlines() if "…" not in line], "a slow machine says what it is at"
    assert output.out.splitlines()[:2] == [
        "tiny: train: 4 images, 4 labelled, 8 components",
        "tiny: train: warning: no pixel of rare",
    ]
    data_set = DataSet.open(directory)
    assert data_set.ids("train") == ("00", "01", "02", "03")
    assert data_set.reader("train").image_bytes(2) == list(examples())[2].image_bytes
    assert len(data_set.centroids("train")) == 8


def test_same_source_is_skipped_without_reading_it(tmp_path, capsys):
    directory = prepare(tmp_path)
    before = {file.name: file.stat().st_mtime_ns for file in directory.iterdir()}
    capsys.readouterr()
    assert prepare(tmp_path, train=failing(AssertionError("was read"))) == directory
    assert "already prepared from the same source" in capsys.readouterr().out
    assert before == {file.name: file.stat().st_mtime_ns for file in directory.iterdir()}


def test_another_source_is_an_error_unless_overwriting(tmp_path):
    directory = prepare(tmp_path)
    with pytest.raises(CsstError, match="another source .fingerprint source, now other.*--overwrite"):
        prepare(tmp_path, source="other")
    prepare(tmp_path, train=examples(2, value=2), source="other", overwrite=True)
    assert DataSet.open(directory).ids("train") == ("00", "01")
    assert set(DataSet.open(directory).centroids("train").klass.tolist()) == {1, 2}
    assert left_behind(tmp_path) == [builder.VERSION]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), CsstError("bad input")])
def test_a_failure_shows_nothing(tmp_path, error):
    with pytest.raises(type(error)):
        prepare(tmp_path, train=failing(error))
    assert left_behind(tmp_path) == []
    with pytest.raises(CsstError, match="holds no prepared data set"):
        DataSet.open(tmp_path)


def test_a_failure_while_overwriting_keeps_the_old_data_set(tmp_path):
    directory = prepare(tmp_path)
    with pytest.raises(ValueError):
        prepare(tmp_path, train=failing(ValueError("broken")), source="other", overwrite=True)
    assert DataSet.open(directory).ids("train") == ("00", "01", "02", "03")
    assert left_behind(tmp_path) == [builder.VERSION]


def test_noted_problems_win_and_show_nothing(tmp_path):
    problems = Problems()
    problems.add("x.png is bad")
    with pytest.raises(CsstError, match="x.png is bad"):
        prepare(tmp_path, problems=problems)
    with pytest.raises(CsstError, match="x.png is bad"):
        prepare(tmp_path, train=iter(()), problems=problems)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    "number,fix",
    [
        (errno.ENOSPC, "No space left on device. Free some space and run the same command again, or give another"),
        (errno.EROFS, "Read-only file system. Allow writing there, or give another --data_dir."),
        (errno.EIO, "Input/output error. Check the disk and run the same command again, or give another"),
    ],
)
def test_a_disk_that_refuses_is_explained_and_finished_parts_are_kept(tmp_path, monkeypatch, number, fix):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(centroid_index, "write", refuse)
    with pytest.raises(CsstError) as refused:
        prepare(tmp_path)
    assert str(refused.value).startswith(f"cannot store data set 'tiny' in {tmp_path}")
    assert fix in str(refused.value) and "1 finished part is kept for the next run" in str(refused.value)
    assert left_behind(tmp_path) == []


def test_no_work_is_said_to_be_kept_where_nothing_was_done(tmp_path):
    (tmp_path / "tiny").write_text("no directory")
    with pytest.raises(CsstError, match="cannot store data set 'tiny'.*File exists") as refused:
        prepare(tmp_path)
    assert "kept" not in str(refused.value)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_records_that_do_not_fit_on_the_disk_are_told_without_a_traceback(tmp_path, num_workers):
    """By a limit on the size of files, as a full disk refuses array_record's writes."""
    replicas.folder(tmp_path)
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 256, (100, 100, 3)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / f"noise {number}.png")
    folders = [f"--images={tmp_path / 'images'}", f"--masks={tmp_path / 'masks'}", f"--data_dir={tmp_path / 'data'}"]
    flags = ["--classes=ground,thing,sky", "--name=mine", f"--num_workers={num_workers}"]
    command = [sys.executable, "-m", "data_prep.folder", *folders, *flags]

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "error: cannot store data set 'mine' in " in done.stderr and "File too large" in done.stderr
    assert subprocess.run(command).returncode == 0, "the same command does not go on with room for the files"


def test_two_preparations_at_once_are_refused(tmp_path):
    (tmp_path / "tiny").mkdir()
    descriptor = os.open(tmp_path / "tiny" / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(CsstError, match="another process is preparing"):
            prepare(tmp_path)
    finally:
        os.close(descriptor)
    prepare(tmp_path)


def test_unsorted_examples_are_a_programming_error(tmp_path):
    with pytest.raises(ValueError, match="sorted by id"):
        prepare(tmp_path, train=reversed(list(examples())))
