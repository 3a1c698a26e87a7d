"""A process that leaves a run of several tells the others, so that none waits for it in a collective.

The words go through the key-value store of JAX's runtime, which the first process keeps. A process that is killed says
nothing: the runtime watches by heartbeats and ends those that are left. A process that has finished waits for the
others: five minutes after one has ended, the runtime would end those that still write.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import jax
import orbax.checkpoint as ocp

from csst_jax.runtime.signals import Preempted, leave_at_once
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Iterator

HEARTBEAT_S = 30
"""A process that has been silent for so long is lost: the runtime ends the others, and names it as a task."""
_MARGIN_S = 20
_GRACE_S = 10
"""What a process has to leave by itself when another one has; between SIGTERM and SIGKILL there are 30 s."""
_LOOK_EVERY_S = 0.5
_KEY = "csst_jax/left"
_FINISHED = "csst_jax/finished"


class _Farewell(NamedTuple):
    """The exit status, which for a stop is that of `Preempted`, and why."""

    status: int
    words: str

    @property
    def stopped(self) -> bool:
        """Whether it was told to leave; else it failed."""
        return self.status not in (1, 2)

    def say(self) -> None:
        if self.stopped:
            print(self.words, flush=True)
        else:
            print(f"error: {self.words}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def none_left_waiting(goes_on: bool = True) -> Iterator[None]:
    """Ends the process when it, or another one of the run, stops before the end; at the end it waits for the others.

    Once a process. Alone, it changes nothing.

    Args:
      goes_on: whether the same command goes on where it was stopped. A process that is stopped then ends with the
        status of `Preempted`, else with 128 + the signal.
    """
    if jax.process_count() == 1:
        yield
        return
    board, left = _Board(), threading.Event()
    threading.Thread(target=_leave_with_others, args=(board, left), daemon=True).start()
    try:
        try:
            yield
            board.finish()
            while board.finished() < jax.process_count():
                time.sleep(_LOOK_EVERY_S)
        except BaseException:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second reason would put an end to saying the first
            raise
        finally:
            left.set()
    except BaseException as reason:
        farewell = board.worst()
        if farewell is None and isinstance(reason, jax.errors.JaxRuntimeError):
            _await_heartbeat(reason)
        if farewell is None:
            farewell = _farewell(reason, goes_on)
        _leave(board, farewell)


def _farewell(reason: BaseException, goes_on: bool) -> _Farewell:
    if isinstance(reason, Preempted):
        then = "Start all processes again to continue." if goes_on else "Start all processes again."
        status = reason.status if goes_on else 128 + reason.number
        return _Farewell(status, f"process {jax.process_index()}: {reason} {then}")
    if isinstance(reason, CsstError):
        return _Farewell(2, f"process {jax.process_index()}: {reason}")
    traceback.print_exception(reason)
    return _Farewell(1, f"process {jax.process_index()}: {type(reason).__name__}: {reason}")


class _Board:
    """Where each process that leaves writes why, and each that has finished that it has."""

    def __init__(self) -> None:
        self._client = ocp.multihost.get_jax_distributed_client()

    def write(self, farewell: _Farewell) -> None:
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # the first process is gone, and the store with it
            self._client.key_value_set(f"{_KEY}/{jax.process_index()}", json.dumps(farewell))

    def read(self) -> list[_Farewell]:
        try:
            return [_Farewell(*json.loads(value)) for _, value in self._client.key_value_dir_get(_KEY)]
        except jax.errors.JaxRuntimeError:  # likewise
            return []

    def finish(self) -> None:
        """Says that this process has finished."""
        self._client.key_value_set(f"{_FINISHED}/{jax.process_index()}", "")

    def finished(self) -> int:
        """How many processes have; raises JaxRuntimeError where the first one is gone."""
        return len(self._client.key_value_dir_get(_FINISHED))

    def worst(self) -> _Farewell | None:
        """An error rather than a stop, which may be its consequence."""
        return max(self.read(), key=lambda farewell: (not farewell.stopped, farewell), default=None)


def _leave_with_others(board: _Board, left: threading.Event) -> None:
    """Looks whether another process has left, and stops this one by SIGTERM; in a collective it must be ended."""
    while not left.wait(_LOOK_EVERY_S):
        farewell = board.worst()
        if farewell is not None:
            os.kill(os.getpid(), signal.SIGTERM)
            if not left.wait(_GRACE_S):
                _leave(board, farewell)
            return


def _leave(board: _Board, farewell: _Farewell) -> NoReturn:
    """Ends the process, the first one last; JAX's own end would wait minutes for the others."""
    board.write(farewell)
    with contextlib.suppress(OSError):  # the terminal is gone
        farewell.say()
    give_up = time.monotonic() + _GRACE_S + 2 * _LOOK_EVERY_S
    while jax.process_index() == 0 and len(board.read()) < jax.process_count() and time.monotonic() < give_up:
        time.sleep(0.1)
    leave_at_once(farewell.status)


def _await_heartbeat(error: jax.errors.JaxRuntimeError) -> NoReturn:
    """A collective failed and nobody said that it left: the runtime will name who was lost, and end this process."""
    reason = str(error).splitlines()[0]
    print(
        f"error: process {jax.process_index()} lost another process of the run ({reason}). JAX's message names it "
        f"as a task within {HEARTBEAT_S + _MARGIN_S} s. Start all processes again; the run continues.",
        file=sys.stderr,
        flush=True,
    )
    faulthandler.disable()  # where Python is when the runtime ends it tells nothing
    time.sleep(HEARTBEAT_S + _MARGIN_S)
    leave_at_once(1)
