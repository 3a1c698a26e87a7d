"""SIGTERM: the exception and the flag that it raises, and how a process ends at once."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from types import FrameType

_LATER_S = 0.1


class Preempted(BaseException):
    """SIGTERM came and the state is saved; the message says where. The same command goes on from there.

    No `Exception`, as KeyboardInterrupt is none: it may be raised anywhere, and what tries a failed read again must not
    take it for one.
    """


def stop_between_stages() -> None:
    """Lets SIGTERM raise `Preempted` wherever the main thread is; a stage that has something to save takes over.

    Where Python prints an exception and goes on (in a destructor, in a generator that is thrown away, in a callback of
    the garbage collector, as JAX has one) it is raised again a little later.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise Preempted("SIGTERM between two stages; all that is finished is kept.")

    report = sys.unraisablehook

    def ignored(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, Preempted):
            threading.Timer(_LATER_S, os.kill, (os.getpid(), signal.SIGTERM)).start()
        else:
            report(unraisable)

    sys.unraisablehook = ignored
    signal.signal(signal.SIGTERM, stop)


def leave_at_once(status: int) -> NoReturn:
    """Ends the process; Python's own end would wait for a compilation in the background, which can take minutes."""
    logging.shutdown()
    with contextlib.suppress(OSError):  # the terminal is gone
        sys.stdout.flush()
    os._exit(status)


class StopRequest:
    """Turns SIGTERM into a flag while a stage runs, so that it can save at the end of a step.

    A request that the stage did not get round to (it was at its end) is delivered again to the handler from before.
    Only the main thread may set signal handlers; elsewhere (tests, notebooks) the flag stays down.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._request)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
        if self.requested and kind is None:
            signal.raise_signal(signal.SIGTERM)

    def _request(self, *_: object) -> None:
        self.requested = True
