"""The processes of one run are started alike.

A process with another batch size or another version of a file would compile another program, and the others would wait
for it in a collective for ever, or, worse, not notice.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import pathlib
import platform
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from csst_jax.runtime.json_files import differences
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "opencv-python-headless")
"""Libraries whose version changes a program, an artifact or a crop."""


def require_alike(settings: dict[str, Any]) -> None:
    """Refuses processes that were started otherwise than the first one.

    All raise the same error, so that none is left waiting.

    Args:
      settings: what a process was started with, JSON-able.

    Raises:
      CsstError: names each process that differs from the first one, and in what.
    """
    if jax.process_count() > 1:
        refuse_others(gathered({**settings, "code": code_version()}))


def refuse_others(started_with: Sequence[dict[str, Any]]) -> None:
    """See `require_alike`.

    Args:
      started_with: of every process, in order.
    """
    first = started_with[0]
    found = [
        f"process {process} was not started like process 0: {'; '.join(differences(first, theirs, now='here'))}."
        for process, theirs in enumerate(started_with)
        if theirs != first
    ]
    if found:
        raise CsstError("\n".join([*found, "Start all processes from the same code with the same flags."]))


def code_version() -> dict[str, str]:
    """SHA-256 of each source file of csst_jax, and the versions of Python and of the libraries that count."""
    root = pathlib.Path(__file__).resolve().parent.parent
    found = {
        f"csst_jax/{path.relative_to(root).as_posix()}": hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for path in sorted(root.rglob("*.py"))
    }
    return (
        found | {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _PACKAGES}
    )


def counts_of_all(own: np.ndarray) -> np.ndarray:
    """Counts of every process, in order of processes, int64 [processes, n].

    Args:
      own: int64 [n], this process's.
    """
    # int64 does not cross `process_allgather` while JAX is in 32-bit mode: send it as bytes.
    found = np.asarray(multihost_utils.process_allgather(own.view(np.uint8)))
    return found.reshape(jax.process_count(), -1).view(np.int64)


def gathered(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The value of every process, in order of processes."""
    text = np.frombuffer(json.dumps(value, sort_keys=True).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.asarray(text.size, np.int32)).ravel()
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: text.size] = text
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(sizes), -1)
    return [json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes.tolist(), strict=True)]
