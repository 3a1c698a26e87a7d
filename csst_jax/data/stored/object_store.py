"""Data sets on object storage (`gs://…`): copied once to the local disk, since crops are read at random.

Over the network every crop would wait for its record, and array_record reads local files alone.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import logging
import os
import pathlib
from typing import TYPE_CHECKING

from etils import epath

from csst_jax.runtime.storage import copy
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

CACHE = "~/.cache/csst_jax/data"
"""Where copies lie; old ones are nobody's and can be deleted."""
_CONNECTIONS = 8  # files at the same time: one connection does not fill a host's network


def local_copy(directory: epath.Path, find: Callable[[epath.Path], epath.Path], cache: pathlib.Path) -> pathlib.Path:
    """Copies a prepared data set, if its copy is not there yet.

    A copy belongs to the names, lengths and times of the remote files: a data set that is prepared again is copied
    again, beside the old copy. An interrupted copy goes on with the files that are missing. Processes of one machine
    may copy at the same time: each file appears whole, and it does not matter whose is the last.

    Args:
      directory: on object storage.
      find: the version directory at or below it.
      cache: local directory for all copies.

    Returns:
      The local version directory.

    Raises:
      CsstError: nothing prepared is there, or the files cannot be read or written, or one arrived in part.
    """
    try:
        prepared = find(directory)
        lengths, listing = {}, []
        for path in prepared.iterdir():
            stat = path.stat()
            if not stat.is_directory:
                lengths[path.name] = stat.length
                listing.append([path.name, stat.length, stat.mtime])
        digest = hashlib.sha256(json.dumps([os.fspath(prepared), sorted(listing)]).encode()).hexdigest()
        target = cache / digest[:16] / prepared.parent.name / prepared.name
        target.mkdir(parents=True, exist_ok=True)
        missing = [name for name in sorted(lengths) if not (target / name).exists()]
        if missing:
            log.info("copying %s to %s: %.1f MB", prepared, target, sum(lengths[name] for name in missing) / 1e6)
        with concurrent.futures.ThreadPoolExecutor(_CONNECTIONS) as pool:
            list(pool.map(lambda name: copy(prepared / name, target / name, lengths[name]), missing))
    except CsstError:
        raise
    except Exception as error:  # each storage has its own kinds: gcsfs', s3fs', the operating system's
        raise CsstError(
            f"cannot copy {directory} to {cache}: {error}. Check the address, whether this machine may read it, and "
            "the space on the disk. Then run the same command again: it copies what is missing."
        ) from error
    return target
