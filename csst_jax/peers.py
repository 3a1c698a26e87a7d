"""The processes of one run: started alike, and none left waiting for one that is gone.

A process with another batch size or another version of a file would compile another program, and the others would wait
for it in a collective for ever, or, worse, not notice. JAX's runtime watches the processes by heartbeats and ends those
that are left when one is lost; a process that leaves by itself must not wait for the others to leave, too.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import importlib.metadata
import json
import logging
import os
import pathlib
import platform
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from csst_jax.stages.artifact import differences
from csst_jax.train.progress import Preempted
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "opencv-python-headless")
"""Libraries whose version changes a program, an artifact or a crop."""

HEARTBEAT_S = 30
"""A process that has been silent for so long is lost: the runtime ends the others, and names it as a task."""
_MARGIN_S = 20


@contextlib.contextmanager
def none_left_waiting() -> Iterator[None]:
    """Ends this process at an error without waiting for the others, which would wait for it in a collective.

    The first process, which the others' heartbeats go to, gives them a moment to say what they have found themselves.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        reason = str(error).splitlines()[0]
        print(
            f"error: process {jax.process_index()} lost another process of the run ({reason}). JAX's message names it "
            f"as a task within {HEARTBEAT_S + _MARGIN_S} s. Start all processes again; the run goes on.",
            file=sys.stderr,
            flush=True,
        )
        faulthandler.disable()  # where Python is when the runtime ends it tells nothing
        time.sleep(HEARTBEAT_S + _MARGIN_S)
        _leave(1)
    except (CsstError, Preempted) as reason:
        together = isinstance(reason, Preempted) and reason.together
        if jax.process_count() == 1 or together:
            raise
        if jax.process_index() == 0:
            time.sleep(3)
        said = f"process {jax.process_index()}: {reason}"
        if isinstance(reason, Preempted):
            print(f"{said} Start all processes again to go on.", flush=True)
            _leave(0)
        print(f"error: {said}", file=sys.stderr, flush=True)
        _leave(2)


def _leave(status: int) -> NoReturn:
    """Ends the process; JAX's own end would wait minutes for the other processes'."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)


def check_alike(settings: dict[str, Any]) -> None:
    """Compares all processes of the run; each raises the same error, so that none is left waiting.

    Args:
      settings: what a process was started with, JSON-able.

    Raises:
      CsstError: names each process that differs from the first one, and in what.
    """
    if jax.process_count() > 1:
        refuse_others(gathered({**settings, "code": code_version()}))


def refuse_others(started_with: Sequence[dict[str, Any]]) -> None:
    """See `check_alike`.

    Args:
      started_with: of every process, in order.
    """
    first = started_with[0]
    found = [
        f"process {process} was started otherwise than process 0: {'; '.join(differences(first, theirs, now='here'))}."
        for process, theirs in enumerate(started_with)
        if theirs != first
    ]
    if found:
        raise CsstError("\n".join([*found, "Start all processes from the same code with the same flags."]))


def code_version() -> dict[str, str]:
    """SHA-256 of each source file of csst_jax, and the versions of Python and of the libraries that count."""
    root = pathlib.Path(__file__).resolve().parent
    found = {
        f"csst_jax/{path.relative_to(root).as_posix()}": hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for path in sorted(root.rglob("*.py"))
    }
    return (
        found | {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _PACKAGES}
    )


def gathered(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The value of every process, in order of processes."""
    text = np.frombuffer(json.dumps(value, sort_keys=True).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.asarray(text.size, np.int32)).ravel()
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: text.size] = text
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(sizes), -1)
    return [json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes.tolist(), strict=True)]
