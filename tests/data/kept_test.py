"""Pairs in memory: read once, within the budget, and the same bytes as before."""

import concurrent.futures

import pytest

from csst_jax.data.kept import kept_in_memory


class Numbers:
    """100 pairs of 10 + 2 bytes; notes what is read."""

    def __init__(self, name):
        self.name, self.read = name, []

    def __len__(self):
        return 100

    def pair_bytes(self, record):
        self.read.append(record)
        return self.name.encode() * 9 + bytes([record]), b"l" + bytes([record])

    def label_bytes(self, record):
        return b"l" + bytes([record])

    def describe(self, record):
        return f"{self.name} {record}"


@pytest.mark.parametrize("max_bytes,first,second", [(0, 0, 0), (11, 0, 0), (12 * 3, 2, 1), (12 * 3 + 11, 2, 1)])
def test_what_fits_is_read_once(max_bytes, first, second):
    sources = Numbers("a"), Numbers("b")
    kept = kept_in_memory(sources, max_bytes)
    for _ in range(3):
        for record in (4, 7):
            for source, own in zip(kept, sources, strict=True):
                assert source.pair_bytes(record) == (own.name.encode() * 9 + bytes([record]), b"l" + bytes([record]))
    assert [source.read.count(4) + source.read.count(7) for source in sources] == [6 - 2 * first, 6 - 2 * second]
    assert (len(kept[0]), kept[1].label_bytes(5), kept[0].describe(3)) == (100, b"l\x05", "a 3")


def test_many_threads_get_the_right_bytes_and_stay_within_the_budget():
    source = Numbers("a")
    (kept,) = kept_in_memory([source], 12 * 40)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(kept.pair_bytes, [record for _ in range(20) for record in range(100)]))
    assert found == [(b"a" * 9 + bytes([record]), b"l" + bytes([record])) for _ in range(20) for record in range(100)]
    source.read.clear()
    for record in range(100):
        kept.pair_bytes(record)
    assert 60 <= len(source.read) < 100
