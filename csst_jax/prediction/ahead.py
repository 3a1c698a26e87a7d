"""Work in threads beside that of the main thread, in order: reading before, writing after the device."""

from __future__ import annotations

import collections
import concurrent.futures
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """`map(function, items)` in threads; results come in the items' order.

    Args:
      function: called in one of the threads.
      items: consumed in the calling thread, as many ahead of the results as there are threads.
      threads: how many.

    Raises:
      Exception: what `function` or `items` raised, in its turn.
    """
    waiting: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # What has begun is a file that is read or written: moments, after which it is whole.
        pool.shutdown(wait=True, cancel_futures=True)
