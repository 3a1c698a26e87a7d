"""One run at a time in a workdir: a lock of the file system's, or in a bucket a claim that is renewed until it ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import signal
import socket
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, TextIO

import jax

from csst_jax.runtime.workdir import LOCK_FILE
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etils import epath

    from csst_jax.runtime.storage import StoragePath

_RENEW_EVERY_S = 15.0
_SILENT_FOR_S = 60.0
_LOOK_EVERY_S = 2.0
_TRY_AGAIN_S = (0.1, 0.2, 0.4)
"""`csst_jax.status` shares the lock for a moment, to see whether a run holds it."""


@contextlib.contextmanager
def claimed(workdir: StoragePath) -> Iterator[None]:
    """Holds the workdir for this run.

    The processes of one run share a workdir: the first one holds it, so JAX must have been started.

    Raises:
      CsstError: another run holds it; or the bucket cannot be read and written.
    """
    if jax.process_index() > 0:
        yield
        return
    held = locked(workdir) if isinstance(workdir, pathlib.Path) else _renewed(workdir / LOCK_FILE)
    with held:
        yield


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """The operating system drops the lock with the process, however it ends.

    Where the file system has no locks, a line on stderr says so.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / LOCK_FILE).open("a+") as lock:
        try:
            _lock(lock)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            raise _in_use(workdir, f"process {holder}" if holder else "") from None
        except OSError as error:  # NFS or Lustre mounted without locks
            print(
                f"warning: the file system of {workdir} has no locks ({error.strerror}): do not start two runs in it.",
                file=sys.stderr,
            )
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _lock(file: TextIO) -> None:
    """Takes the lock.

    Raises:
      BlockingIOError: another process has it, and keeps it.
      OSError: the file system has no locks.
    """
    for pause in (*_TRY_AGAIN_S, None):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if pause is None:
                raise
        time.sleep(pause)


@contextlib.contextmanager
def _renewed(path: epath.Path) -> Iterator[None]:
    """A claim whose object changes every quarter of a minute; one that has been the same for a minute is nobody's.

    The store refuses to write over a generation that was not read, so of two runs that claim at the same moment one
    has it. A run that was suspended, and lost its claim to another, is stopped as by SIGTERM. Clocks of machines are
    not compared.
    """
    try:
        claim = _Claim(path)
        claim.take()
    except CsstError:
        raise
    except Exception as error:  # Google's, requests' and google-auth's have no common kind
        raise CsstError(
            f"cannot read and write {path.parent}: {type(error).__name__}: {error}. Check the bucket's name, and "
            "whether this machine may write to it (docs/pods.md)."
        ) from error
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(_RENEW_EVERY_S):
            try:
                claim.write()
            except CsstError as error:
                print(f"error: {error}", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            except Exception as error:  # once is not for ever: the next one may succeed
                print(f"warning: cannot renew {path}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

    renewing = threading.Thread(target=renew, name="claim", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        with contextlib.suppress(Exception):  # left behind, it is nobody's in a minute
            claim.give_back()


class _Claim:
    """The object that names the run which has the workdir, written and deleted only where nobody else wrote since.

    Google's client is asked directly: gcsfs knows the precondition "there is none", and none of a generation.
    """

    def __init__(self, path: epath.Path):
        """Reads and writes nothing yet."""
        from google.cloud import storage  # comes with gcsfs, which only runs in buckets need

        self._path = path
        bucket, _, self._name = os.fspath(path).removeprefix("gs://").partition("/")
        self._bucket = storage.Client(project=None).bucket(bucket)  # objects belong to buckets, not to projects
        self._run, self._count, self._generation = uuid.uuid4().hex, 0, 0

    def take(self) -> None:
        """Waits until nobody renews the claim, and takes it.

        Raises:
          CsstError: another run renews it, or took it at the same moment.
        """
        first, self._generation = self._read()
        since = time.monotonic()
        if first:
            print(f"{self._path} is there: waiting {_SILENT_FOR_S:.0f} s to see whether its run is alive.", flush=True)
        while self._generation and time.monotonic() - since < _SILENT_FOR_S:
            time.sleep(_LOOK_EVERY_S)
            holder, now = self._read()
            if now not in (0, self._generation):
                raise _in_use(self._path.parent, holder)
            self._generation = now
        self.write()

    def write(self) -> None:
        """Takes or renews the claim.

        Raises:
          CsstError: another run has it.
        """
        from google.api_core.exceptions import PreconditionFailed

        content = {"run": self._run, "host": socket.gethostname(), "process": os.getpid(), "count": self._count}
        blob = self._bucket.blob(self._name)  # a new one: one that was read asks for that generation ever after
        try:
            blob.upload_from_string(json.dumps(content), if_generation_match=self._generation)
            self._generation = blob.generation
        except PreconditionFailed:
            # The client repeats a write whose answer was lost: then the newer generation is this run's own.
            holder, generation = self._read()
            if self._run not in holder:
                raise _in_use(self._path.parent, holder or "whose claim is gone by now") from None
            self._generation = generation
        self._count += 1

    def give_back(self) -> None:
        """Deletes the claim, if it is still this run's."""
        self._bucket.blob(self._name).delete(if_generation_match=self._generation)

    def _read(self) -> tuple[str, int]:
        """The claim and its generation; empty and 0 if there is none."""
        from google.api_core.exceptions import NotFound

        blob = self._bucket.blob(self._name)
        try:
            content = blob.download_as_bytes().decode()
        except NotFound:
            return "", 0
        return content, blob.generation


def _in_use(workdir: StoragePath, holder: str) -> CsstError:
    return CsstError(
        f"{workdir} is in use by another run{f' ({holder})' if holder else ''}; "
        "wait until it ends, or give this one another --workdir."
    )
