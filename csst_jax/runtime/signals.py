"""SIGTERM and Ctrl-C: the exception and the flag that they raise, and how a process ends at once."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType

_LATER_S = 0.1
_ANOTHER_AFTER_S = 1.0
"""A program that started this one may hand on the Ctrl-C that this one has from the terminal, too."""
_NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}
STOPPED_STATUS = "CSST_STOPPED_STATUS"
"""A variable of the environment: the status after SIGTERM, for launchers, which must tell a stopped run by it."""
_STATUSES = {signal.SIGTERM: 0, signal.SIGINT: 128 + signal.SIGINT}
"""What a process that saved ends with: see docs/adr/0005-sigterm-exits-with-zero.md."""


class Preempted(BaseException):
    """SIGTERM or Ctrl-C came and the state is saved; the message says where. The same command goes on from there.

    No `Exception`, as KeyboardInterrupt is none: it may be raised anywhere, and what tries a failed read again must not
    take it for one.
    """

    def __init__(self, words: str, number: int = signal.SIGTERM):
        """`number` is the signal's."""
        super().__init__(words)
        self.number = number

    @property
    def status(self) -> int:
        """What the process ends with."""
        number = signal.Signals(self.number)
        if number == signal.SIGTERM and STOPPED_STATUS in os.environ:
            return int(os.environ[STOPPED_STATUS])
        return _STATUSES[number]


def stop_between_stages() -> None:
    """Lets SIGTERM and Ctrl-C raise `Preempted` wherever the main thread is; a second Ctrl-C ends the process at once.

    A stage that has something to save takes over.

    Where Python prints an exception and goes on (in a destructor, in a generator that is thrown away, in a callback of
    the garbage collector, as JAX has one) it is raised again a little later.
    """
    leaving = False

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        nonlocal leaving
        if leaving and number == signal.SIGINT:
            return  # the same Ctrl-C handed on, or another one, which `_end_at_another` sees
        leaving = True
        name = _NAMES[signal.Signals(number)]
        raise Preempted(f"{name}: all that is finished is kept.", number)

    report = sys.unraisablehook

    def ignored(unraisable: Any) -> None:
        nonlocal leaving
        if issubclass(unraisable.exc_type, Preempted):
            leaving = False
            number = signal.SIGTERM if unraisable.exc_value is None else unraisable.exc_value.number
            threading.Timer(_LATER_S, os.kill, (os.getpid(), number)).start()
        else:
            report(unraisable)

    sys.unraisablehook = ignored
    for number in _heard():
        signal.signal(number, stop)
    _end_at_another()


def _heard() -> list[signal.Signals]:
    """The signals to handle; a shell lets programs in the background ignore Ctrl-C, and so it stays."""
    return [number for number in _NAMES if signal.getsignal(number) is not signal.SIG_IGN]


def _end_at_another() -> None:
    """Ends the process at the second Ctrl-C, also while the main thread compiles and no handler of Python's can run."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def watch() -> None:
        first = None
        while numbers := os.read(read, 64):
            if signal.SIGINT not in numbers:
                continue
            if first is not None and time.monotonic() - first > _ANOTHER_AFTER_S:
                leave_at_once(_STATUSES[signal.SIGINT])
            first = first or time.monotonic()

    threading.Thread(target=watch, name="ctrl-c", daemon=True).start()


def tell_interruption() -> None:
    """Lets Ctrl-C end a program that has nothing to save with a line, where Python would print where it was.

    So does the end of the program that reads what this one prints, as `head` ends after some lines.
    """
    report = sys.excepthook

    def told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("Stopped by Ctrl-C.", file=sys.stderr)
        elif issubclass(kind, BrokenPipeError) and _has_no_reader(sys.stdout.fileno()):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try again at the end
            print("Stopped: the program that read this output has ended (a broken pipe).", file=sys.stderr)
        else:
            report(kind, error, trace)

    sys.excepthook = told


def _has_no_reader(descriptor: int) -> bool:
    """Whether this is a pipe whose other end is closed."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


@contextlib.contextmanager
def stopped_at_once(words: str) -> Iterator[None]:
    """Lets SIGTERM and Ctrl-C end a command that does not go on where it stopped: with a line, and 128 + the signal.

    Args:
      words: what there is to say of what it has done.
    """
    stop_between_stages()
    try:
        yield
    except Preempted as stopped:
        with contextlib.suppress(OSError):  # the terminal is gone
            print(f"Stopped by {_NAMES[signal.Signals(stopped.number)]}; {words}", file=sys.stderr, flush=True)
        leave_at_once(128 + stopped.number)


def leave_at_once(status: int) -> NoReturn:
    """Ends the process; Python's own end would wait for a compilation in the background, which can take minutes."""
    logging.shutdown()
    with contextlib.suppress(OSError):  # the terminal is gone
        sys.stdout.flush()
    os._exit(status)


class StopRequest:
    """Turns SIGTERM and Ctrl-C into a flag while a stage runs, so that it can save at the end of a step.

    A request that the stage did not get round to (it was at its end) is delivered again to the handler from before.
    Only the main thread may set signal handlers; elsewhere (tests, notebooks) the flag stays down.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._leave: Callable[[], Preempted] | None = None

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return self._number is not None

    def preempted(self, stage: str, words: str) -> Preempted:
        """What to raise once the stage has saved; a process that was told by another one says SIGTERM."""
        number = signal.SIGTERM if self._number is None else signal.Signals(self._number)
        return Preempted(f"{stage}: {_NAMES[number]}; {words}.", number)

    @contextlib.contextmanager
    def at_once(self, stage: str, words: str) -> Iterator[None]:
        """While there is nothing to save: a request raises `preempted` wherever the main thread is, an old one here."""
        self._leave = functools.partial(self.preempted, stage, words)
        try:
            if self.requested:
                raise self._leave()
            yield
        finally:
            self._leave = None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._request) for number in _heard()}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, before in self._previous.items():
            signal.signal(number, before)
        if self._number is None or kind is not None:
            return
        before = self._previous[signal.Signals(self._number)]
        if callable(before):  # called, not signalled, which would count as a second Ctrl-C
            before(self._number, None)
        else:
            signal.raise_signal(self._number)

    def _request(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._number = self._number or number
        if self._leave is not None:
            raise self._leave()
