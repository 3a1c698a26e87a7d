"""Work that takes long says what it is: nobody should have to guess whether a silent program still works."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

log = logging.getLogger(__name__)

FIRST_S = 3.0
"""Seconds of silence before the first line; what is over sooner is not told."""
SILENT_S = 10.0
"""Nobody should wait longer without a word."""
EVERY_S = 6.0
"""Seconds from one line to the next; with `FIRST_S` of the work that follows it stays below `SILENT_S`."""


@contextlib.contextmanager
def told(
    words: str | Callable[[], str],
    say: Callable[[str], None] = log.info,
    first_s: float = FIRST_S,
    every_s: float = EVERY_S,
) -> Iterator[None]:
    """Says what the block does if it takes longer than a moment, and again now and then until it is over.

    A thread says it, so that it is said while the block computes, imports or compiles.

    Args:
      words: what it does, such as "reading the data set"; or a function that says how far it is.
      say: takes each line.
      first_s: seconds to the first line.
      every_s: seconds from one line to the next.
    """
    over, begin = threading.Event(), time.monotonic()

    def watch() -> None:
        pause_s = first_s
        while not over.wait(pause_s):
            passed = time.monotonic() - begin
            since = f" ({passed:.0f} s so far)" if passed > first_s + 1 else ""
            say(f"{words if isinstance(words, str) else words()} …{since}")
            pause_s = every_s

    watcher = threading.Thread(target=watch, name="patience", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def told_each(items: Iterable[T], words: Callable[[int], str], every_s: float = EVERY_S) -> Iterator[T]:
    """The items, one by one; the log says now and then which one the caller is at.

    Args:
      items: what the caller goes through.
      words: from an item's number, counted from 1, to a line.
      every_s: seconds from one line to the next.
    """
    said = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        if time.monotonic() - said > every_s:
            log.info(words(number))
            said = time.monotonic()


def clock_time(seconds: float) -> str:
    """How long something takes: minutes and seconds, and hours where there are any.

    >>> clock_time(125), clock_time(3725)
    ('2:05', '1:02:05')
    """
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def print_line(line: str) -> None:
    """Says a line before there is a log; at once, also into a pipe."""
    print(line, flush=True)


def to_stderr(line: str) -> None:
    """Says a line where standard output is for results."""
    print(line, file=sys.stderr, flush=True)
