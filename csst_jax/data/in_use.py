"""A data set that a run reads is not replaced meanwhile: the run shares a lock that data_prep needs for itself alone.

A data set that grows is prepared again in the same place. A run that had opened it before would find other records
under the numbers that it knows.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import sys
from typing import TYPE_CHECKING

from csst_jax.data.store import find_prepared
from csst_jax.runtime.storage import is_remote
from csst_jax.types import CsstError
from csst_jax.user_files import user_path

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable, Iterator

LOCK_FILE = ".in_use"
"""Beside the version's directory, which is replaced as a whole."""
_NO_RIGHT = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


@contextlib.contextmanager
def read_by_a_run(directories: Iterable[str]) -> Iterator[None]:
    """Any number of runs read a data set at once.

    There is no lock in a bucket, which is copied before it is read, nor where this process may not write or the file
    system has no locks. What else prevents one, as a full disk does, is a warning on stderr.

    Args:
      directories: each as for `DataSet.open`; empty ones do not count.

    Raises:
      CsstError: one is being prepared again; or nothing prepared is there.
    """
    with contextlib.ExitStack() as held:
        for directory in directories:
            if not directory or is_remote(directory):
                continue
            found = find_prepared(user_path(directory))
            try:
                lock = held.enter_context(open(found.parent / LOCK_FILE, "a+"))  # NFS shares only what can be read
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CsstError(f"{found} is being prepared again; start this run when that is finished.") from None
            except OSError as error:  # nothing is lost but this protection
                if error.errno not in _NO_RIGHT | _NO_LOCKS:
                    print(
                        f"warning: {found} cannot be locked ({error}): do not prepare it again while a run reads it.",
                        file=sys.stderr,
                    )
        yield


@contextlib.contextmanager
def written_alone(directory: pathlib.Path) -> Iterator[None]:
    """For a preparation, while no run reads the data set.

    Args:
      directory: the version's, whether it is there yet or not; the one above is there.

    Raises:
      CsstError: a run reads it.
    """
    with open(directory.parent / LOCK_FILE, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CsstError(
                f"a run is reading {directory}, and would be lost if the data set changed. Wait until it ends, or stop "
                "it and start it again in another --workdir afterwards."
            ) from None
        except OSError:  # a file system without locks, which `data_prep.workspace.exclusive` tells
            pass
        yield
