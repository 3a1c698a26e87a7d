"""The progress line, and the flag that a SIGTERM raises."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from csst_jax.types import Phase

log = logging.getLogger(__name__)

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


class Progress:
    """Counts what passed since the last line and what is left.

    Time left is estimated by pixels, not steps: steps of different phases cost differently.
    """

    def __init__(self, name: str, phases: Sequence[Phase], start_step: int):
        self._name = name
        self._total = sum(phase.steps for phase in phases)
        self._begin = self._since = time.perf_counter()
        self._waited = 0.0
        self._images = 0
        self._left = sum(phase.steps * _pixels(phase) for phase in phases)
        self._done = 0
        for phase in phases:  # those before the start are over
            over = min(start_step, phase.steps)
            self._left -= over * _pixels(phase)
            start_step -= over

    def waited(self, seconds: float) -> None:
        """Adds time that a step waited for input."""
        self._waited += seconds

    def stepped(self, phase: Phase) -> None:
        """Notes that a step of `phase` was dispatched."""
        self._images += phase.global_batch
        self._done += _pixels(phase)

    def line(self, step: int, phase: Phase, scalars: dict[str, float]) -> dict[str, float]:
        """Logs the line after `step` steps and returns its rates as metrics.

        Returns:
          `images_per_s` and `input_wait_share` since the last line, and `left_s`.
        """
        now = time.perf_counter()
        elapsed = max(now - self._since, 1e-9)
        per_pixel = (now - self._begin) / max(self._done, 1)
        rates = {
            "images_per_s": self._images / elapsed,
            "input_wait_share": min(1.0, self._waited / elapsed),
            "left_s": per_pixel * (self._left - self._done),
        }
        log.info(
            "%s %d/%d  loss %.3f  lr %.2e  crop %d x batch %d  %.1f images/s  input wait %.0f%%  left %s",
            self._name,
            step,
            self._total,
            scalars["loss"],
            scalars["learning_rate"],
            phase.crop_px,
            phase.global_batch,
            rates["images_per_s"],
            100 * rates["input_wait_share"],
            _duration(rates["left_s"]),
        )
        self._since, self._waited, self._images = now, 0.0, 0
        return rates


def _pixels(phase: Phase) -> int:
    return phase.global_batch * phase.crop_px**2


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
