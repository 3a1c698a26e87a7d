"""One run at a time in a workdir, on a disk and in a bucket."""

import errno
import fcntl
import json
import os
import signal
import threading
import time

import pytest

from csst_jax.runtime import claim, storage
from csst_jax.runtime.claim import claimed
from csst_jax.types import CsstError

OBJECT = "run/.lock"


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, capsys):
    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with claimed(tmp_path):
        pass
    assert f"warning: the file system of {tmp_path} has no locks" in capsys.readouterr().err


@pytest.fixture
def workdir(bucket, monkeypatch):
    for name, seconds in (("_RENEW_EVERY_S", 0.2), ("_SILENT_FOR_S", 1.0), ("_LOOK_EVERY_S", 0.1)):
        monkeypatch.setattr(claim, name, seconds)
    return storage.place("gs://bucket/run")


def test_a_claim_in_a_bucket_is_renewed_and_given_back(bucket, workdir):
    with claimed(workdir):
        first = json.loads(bucket.content(OBJECT))
        assert first["process"] == os.getpid() and first["count"] == 0
        give_up = time.monotonic() + 30
        while json.loads(bucket.content(OBJECT))["count"] < 2 and time.monotonic() < give_up:
            time.sleep(0.05)
        assert json.loads(bucket.content(OBJECT)) == {**first, "count": 2}
    assert bucket.names() == []


def test_a_second_run_is_refused_while_the_first_renews_its_claim(bucket, workdir):
    with claimed(workdir):
        with (
            pytest.raises(CsstError, match=f"gs://bucket/run is in use by another run.*{os.getpid()}"),
            claimed(workdir),
        ):
            pytest.fail("both have it")
        assert bucket.names() == [OBJECT]


def test_the_claim_of_a_killed_run_is_nobodys_after_a_while(bucket, workdir, capsys):
    bucket.put(OBJECT, b'{"run": "killed"}')
    began = time.monotonic()
    with claimed(workdir):
        assert time.monotonic() - began > claim._SILENT_FOR_S and b"killed" not in bucket.content(OBJECT)
    assert "waiting 1 s to see whether its run is alive" in capsys.readouterr().out


def test_a_run_that_ends_meanwhile_is_not_waited_for(bucket, workdir, monkeypatch):
    monkeypatch.setattr(claim, "_SILENT_FOR_S", 60.0)
    bucket.put(OBJECT, b'{"run": "ending"}')
    threading.Timer(0.5, bucket.clear).start()
    began = time.monotonic()
    with claimed(workdir):
        assert time.monotonic() - began < 30


def test_of_two_that_claim_at_once_the_later_one_has_it(bucket, workdir, monkeypatch):
    def look(seconds):
        bucket.put(OBJECT, b'{"run": "other"}')

    monkeypatch.setattr(claim.time, "sleep", look)
    with pytest.raises(CsstError, match="in use by another run .*other"), claimed(workdir):
        pytest.fail("both have it")


def test_a_run_that_lost_its_claim_while_it_was_suspended_is_stopped(bucket, workdir, capsys):
    stopped = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        with claimed(workdir):
            bucket.put(OBJECT, b'{"run": "other"}')
            assert stopped.wait(30)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert bucket.content(OBJECT) == b'{"run": "other"}'
    assert "in use by another run" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["gs://bucket/run", "gs://missing/run"])
def test_a_bucket_that_cannot_be_written_is_told(bucket, workdir, place):
    bucket.denied.add(".lock")
    told = pytest.raises(CsstError, match=f"cannot read and write {place}: .*(?s:.*)Check the bucket's name")
    with told, claimed(storage.place(place)):
        pytest.fail("it was written")
