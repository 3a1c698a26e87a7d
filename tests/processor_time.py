"""Where the tests' time goes: a pytest plugin that writes it down, and the tables of docs/testing.md from that.

The page has the commands. A test's processor time is that of its worker, all threads, and of the processes that it has
started and waited for. A fixture that several tests share counts for the first of them.
"""

from __future__ import annotations

import argparse
import collections
import csv
import os
import pathlib
import re
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

START = "start of a worker"
BUSY = 0.9  # of two cores: the workers end apart, and wait for processes


class Row(NamedTuple):
    """One test: how much of a processor it took, how long it took, and which `make` runs it."""

    test: str
    target: str
    capability: str
    processor_s: float
    wall_s: float

    @property
    def file(self) -> str:
        return self.test.partition("::")[0]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--processor_times", help="a CSV file to which each test's processor time and duration are added")


def pytest_runtest_setup() -> None:
    """A pytest that a test starts is part of that test."""
    os.environ.pop("PYTEST_ADDOPTS", None)


def _add(config: pytest.Config, row: Row) -> None:
    if path := config.getoption("--processor_times"):
        with pathlib.Path(path).open("a", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerow((*row[:3], f"{row.processor_s:.2f}", f"{row.wall_s:.2f}"))


def _now() -> tuple[float, float]:
    return sum(os.times()[:4]), time.perf_counter()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Workers import and collect everything, whatever they run."""
    target = "test-all" if "slow and not" in session.config.getoption("markexpr") else "test"
    _add(session.config, Row(START, target, "", _now()[0], 0.0))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    before = _now()
    result = yield
    slow, essential = map(item.get_closest_marker, ("slow", "essential"))
    target = "test" if essential else "test-all" if slow else "test-fast"
    spent = (now - then for now, then in zip(_now(), before, strict=True))
    _add(item.config, Row(item.nodeid, target, *(essential.args if essential else ("",)), *spent))
    return result


def read(path: pathlib.Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [Row(*words[:3], *map(float, words[3:])) for words in csv.reader(stream)]


def tables(rows: list[Row]) -> str:
    """What each target takes, the test of each capability, and the files that take most."""
    tests = [row for row in rows if row.test != START]
    start = {
        target: [row for row in rows if (row.test, row.target) == (START, target)] for target in ("test", "test-all")
    }
    fast, essential, rest = (
        [row for row in tests if row.target == target] for target in ("test-fast", "test", "test-all")
    )
    lines = ["| | Tests | Processor time | On two quiet cores, estimated |", "| --- | ---: | ---: | ---: |"]
    for target, own, workers in (
        ("test-fast", fast, start["test"]),
        ("test", fast + essential, start["test"]),
        ("test-all", rest, start["test-all"]),
    ):
        if not own:
            continue
        spent = _sum(own + workers)
        lines.append(f"| `make {target}` | {len(own)} | {spent:.0f} s | {spent / 2 / BUSY / 60:.1f} min |")
    lines += ["", "| Capability | Test | Processor time |", "| --- | --- | ---: |"]
    by_test = collections.defaultdict(list)
    for row in essential:
        by_test[row.capability, row.test.partition("[")[0]].append(row)
    for (capability, test), found in by_test.items():
        file, _, name = test.removeprefix("tests/").partition("::")
        lines.append(f"| {capability} | `{file}` {name} | {_sum(found):.0f} s |")
    parts = {"fast": fast, "essential": essential, "the rest": rest}
    parts = {name: part for name, part in parts.items() if part}
    lines += ["", f"| File | {' | '.join(parts)} |", f"| --- |{' ---: |' * len(parts)}"]
    files = collections.Counter()
    for row in tests:
        files[row.file] += row.processor_s
    for file, _ in files.most_common(15):
        spent = (_sum(row for row in part if row.file == file) for part in parts.values())
        lines.append(
            f"| `{file.removeprefix('tests/')}` | " + " | ".join(f"{seconds:.0f} s" for seconds in spent) + " |"
        )
    return "\n".join(lines)


def _sum(rows: Iterable[Row]) -> float:
    return sum(row.processor_s for row in rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.processor_time",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("times", type=pathlib.Path, help="the CSV file")
    parser.add_argument("--tables", type=pathlib.Path, help="the page whose tables are replaced; by default printed")
    flags = parser.parse_args()
    made = tables(read(flags.times))
    if flags.tables is None:
        print(made)
        return
    page = flags.tables.read_text(encoding="utf-8")
    between = r"(?s)(?<=<!-- times -->\n).*(?=<!-- end of times -->)"
    page, found = re.subn(between, lambda _: f"{made}\n", page)
    if not found:
        raise SystemExit(f"error: {flags.tables} has no place for the tables.")
    flags.tables.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
