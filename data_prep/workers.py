"""Work on all cores, in order, with bounded memory."""

from __future__ import annotations

import argparse
import collections
import concurrent.futures.process
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from csst_jax.types import CsstError

Item = TypeVar("Item")
Result = TypeVar("Result")


def add_argument(arguments: argparse.ArgumentParser) -> None:
    """Adds --num_workers."""
    arguments.add_argument(
        "--num_workers", type=_positive, default=os.cpu_count() or 1, help="processes (default: all cores)"
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise CsstError(f"--num_workers={text} must be 1 or more.")
    return int(text)


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item], num_workers: int) -> Iterator[Result]:
    """`map(function, items)` over processes, or in this one where `num_workers` is 1.

    Args:
      function: a module's own function (or a `functools.partial` of one), which a process can be sent.
      items: consumed as they are needed: a few for every worker are under way at a time.
      num_workers: processes.

    Raises:
      Exception: what `function` or `items` raised, in its turn.
    """
    if num_workers == 1:
        yield from map(function, items)
        return
    with concurrent.futures.ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context("spawn"),  # forking a process with threads (TFDS has some) can hang
        initializer=_start_worker,
    ) as pool:
        waiting: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 4 * num_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise CsstError(
                "a worker process was killed, usually because memory ran out. Give fewer "
                "--num_workers. The same command continues from what is done."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Ties a worker to its parent: Ctrl-C is the parent's to handle, and a killed parent takes its workers along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None  # this runs in a worker

    def leave_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
