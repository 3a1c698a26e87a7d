"""One run at a time in a workdir, on a disk and in a bucket."""

import errno
import fcntl
import json
import os
import signal
import threading
import time

import pytest
from google.cloud.storage import Blob

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


def test_a_look_at_the_lock_while_a_run_starts_does_not_refuse_it(tmp_path):
    """As `csst_jax.status` looks."""
    (tmp_path / ".lock").write_text("1\n")
    with (tmp_path / ".lock").open() as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        timer = threading.Timer(0.2, lambda: fcntl.flock(look, fcntl.LOCK_UN))
        timer.start()
        with claimed(tmp_path):
            assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
        timer.join()


def test_a_run_is_refused_while_another_one_holds_the_lock(tmp_path):
    message = f"in use by another run .process {os.getpid()}"
    with claimed(tmp_path), pytest.raises(CsstError, match=message), claimed(tmp_path):
        pytest.fail("both have it")


@pytest.fixture
def workdir(bucket, monkeypatch):
    for name, seconds in (("_RENEW_EVERY_S", 0.2), ("_SILENT_FOR_S", 1.0), ("_LOOK_EVERY_S", 0.1)):
        monkeypatch.setattr(claim, name, seconds)
    return storage.as_path("gs://bucket/run")


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


def race(workdir, monkeypatch, runs=4):
    """Claims in as many threads, none of which writes before all have read: who had it, and what the others heard."""
    all_have_read, all_have_ended = threading.Barrier(runs), threading.Barrier(runs)
    write, had, heard = claim._Claim.write, [], []

    def write_with_the_others(self):
        if not self._count:
            all_have_read.wait(30)
        write(self)

    def run():
        try:
            with claimed(workdir):
                had.append(threading.get_ident())
                all_have_ended.wait(30)
        except CsstError as error:
            heard.append(str(error))
            all_have_ended.wait(30)

    monkeypatch.setattr(claim._Claim, "write", write_with_the_others)
    threads = [threading.Thread(target=run) for _ in range(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return had, heard


@pytest.mark.parametrize("left_behind", [False, True])
def test_of_several_that_claim_at_the_same_moment_one_has_it(bucket, workdir, monkeypatch, left_behind):
    if left_behind:
        bucket.put(OBJECT, b'{"run": "killed"}')
    had, heard = race(workdir, monkeypatch)
    assert len(had) == 1 and len(heard) == 3
    assert all("gs://bucket/run is in use by another run ({" in error for error in heard)
    assert bucket.names() == []


def test_a_write_whose_answer_was_lost_is_this_runs_own(bucket, workdir, monkeypatch):
    upload = Blob.upload_from_string

    def repeated(self, *arguments, **keywords):
        upload(self, *arguments, **keywords)
        upload(self, *arguments, **keywords)

    monkeypatch.setattr(Blob, "upload_from_string", repeated)
    with claimed(workdir):
        assert json.loads(bucket.content(OBJECT))["process"] == os.getpid()
    assert bucket.names() == []


def test_a_renewal_that_fails_is_told_and_tried_again(bucket, workdir, capsys):
    with claimed(workdir):
        bucket.denied.add(".lock")
        give_up, told = time.monotonic() + 30, ""
        while "cannot renew" not in told and time.monotonic() < give_up:
            time.sleep(0.05)
            told += capsys.readouterr().err
        assert "warning: cannot renew gs://bucket/run/.lock: Forbidden" in told
        bucket.denied.clear()
    assert bucket.names() == []


@pytest.mark.parametrize("ended", [False, True])
def test_a_run_that_lost_its_claim_while_it_was_suspended_is_stopped(bucket, workdir, capsys, ended):
    stopped = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        with claimed(workdir):
            if ended:  # the other run's claim came and went
                bucket.clear()
            else:
                bucket.put(OBJECT, b'{"run": "other"}')
            assert stopped.wait(30)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended or bucket.content(OBJECT) == b'{"run": "other"}'
    assert f"in use by another run ({'whose claim is gone' if ended else ''}" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["gs://bucket/run", "gs://missing/run"])
def test_a_bucket_that_cannot_be_written_is_told(bucket, workdir, place):
    bucket.denied.add(".lock")
    told = pytest.raises(CsstError, match=f"cannot read and write {place}: .*(?s:.*)Check the bucket's name")
    with told, claimed(storage.as_path(place)):
        pytest.fail("it was written")
