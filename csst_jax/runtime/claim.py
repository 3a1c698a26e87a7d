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
from typing import TYPE_CHECKING

import jax

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etils import epath

    from csst_jax.runtime.storage import Place

LOCK_FILE = ".lock"
_RENEW_EVERY_S = 15.0
_SILENT_FOR_S = 60.0
_LOOK_EVERY_S = 2.0


@contextlib.contextmanager
def claimed(workdir: Place) -> Iterator[None]:
    """Holds the workdir for this run.

    The processes of one run share a workdir: the first one holds it, so JAX must have been started.

    Raises:
      CsstError: another run holds it; or the bucket cannot be read and written.
    """
    if jax.process_index() > 0:
        yield
        return
    how = _locked(workdir) if isinstance(workdir, pathlib.Path) else _renewed(workdir / LOCK_FILE)
    with how:
        yield


@contextlib.contextmanager
def _locked(workdir: pathlib.Path) -> Iterator[None]:
    """The operating system drops the lock with the process, however it ends.

    Where the file system has no locks, a line on stderr says so.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / LOCK_FILE).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
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


@contextlib.contextmanager
def _renewed(path: epath.Path) -> Iterator[None]:
    """A claim whose object changes every quarter of a minute; one that has been the same for a minute is nobody's.

    Two runs that claim within the same moment see it a moment later. One that was suspended, and lost its claim to
    another, is stopped as by SIGTERM. Clocks of machines are not compared.
    """
    run, ended = uuid.uuid4().hex, threading.Event()

    def claim(count: int) -> None:
        content = {"run": run, "host": socket.gethostname(), "process": os.getpid(), "count": count}
        path.write_text(json.dumps(content), encoding="utf-8")

    def renew() -> None:
        count = 0
        while not ended.wait(_RENEW_EVERY_S):
            count += 1
            with contextlib.suppress(Exception):  # once is not for ever: the next one may succeed
                holder = _read(path)
                if holder and run not in holder:
                    print(f"error: {_in_use(path.parent, holder)}", file=sys.stderr, flush=True)
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                claim(count)

    try:
        _await_silence(path)
        claim(0)
        time.sleep(_LOOK_EVERY_S)
        seen = _read(path)
    except CsstError:
        raise
    except Exception as error:  # gcsfs', Google's and aiohttp's have no common kind
        raise CsstError(
            f"cannot read and write {path.parent}: {type(error).__name__}: {error}. Check the bucket's name, and "
            "whether this machine may write to it (docs/pods.md)."
        ) from error
    if run not in seen:
        raise _in_use(path.parent, seen)
    renewing = threading.Thread(target=renew, name="claim", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        with contextlib.suppress(Exception):  # left behind, it is nobody's in a minute
            if run in _read(path):
                path.unlink()


def _await_silence(path: epath.Path) -> None:
    """Returns when nobody has renewed the claim for a while; raises if somebody does."""
    first, since = _read(path), time.monotonic()
    if first:
        print(f"{path} is there: waiting {_SILENT_FOR_S:.0f} s to see whether its run is alive.", flush=True)
    while first and time.monotonic() - since < _SILENT_FOR_S:
        time.sleep(_LOOK_EVERY_S)
        now = _read(path)
        if not now:
            return
        if now != first:
            raise _in_use(path.parent, now)


def _read(path: epath.Path) -> str:
    """The claim; empty if there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _in_use(workdir: Place, holder: str) -> CsstError:
    return CsstError(
        f"{workdir} is in use by another run{f' ({holder})' if holder else ''}; "
        "wait until it ends, or give this one another --workdir."
    )
