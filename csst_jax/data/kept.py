"""Encoded images and labels that stay in memory: later epochs do not read them again.

Reading an image of 2.2 MB from array_record, checksum and copies included, takes half as long as cutting a crop from
it. What is kept first stays: with images drawn at random, nothing that was kept later would be of more use.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.data.batches import Reader


class _Budget:
    """Bytes that several sources may keep together; any number of threads may ask at once."""

    def __init__(self, max_bytes: int):
        self._left = max_bytes
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        with self._lock:
            granted = size <= self._left
            self._left -= size * granted
            return granted


class _Kept:
    """A source whose pairs stay in memory while the budget lasts."""

    def __init__(self, source: Reader, budget: _Budget):
        self._source, self._budget = source, budget
        self._pairs: dict[int, tuple[bytes, bytes | None]] = {}

    def __len__(self) -> int:
        return len(self._source)

    def pair_bytes(self, record: int) -> tuple[bytes, bytes | None]:
        pair = self._pairs.get(record)
        if pair is None:
            pair = self._source.pair_bytes(record)
            # Two threads that read one record at the same time both pay for it: that wastes budget, not memory.
            if self._budget.take(sum(len(part) for part in pair if part is not None)):
                self._pairs[record] = pair
        return pair

    def label_bytes(self, record: int) -> bytes:
        return self._source.label_bytes(record)

    def describe(self, record: int) -> str:
        return self._source.describe(record)


def kept_in_memory(sources: Sequence[Reader], max_bytes: int) -> list[Reader]:
    """The sources, of which together at most `max_bytes` of encoded pairs stay in memory once they were read."""
    budget = _Budget(max_bytes)
    return [_Kept(source, budget) for source in sources]
