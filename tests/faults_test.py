"""The campaign of kills finds a subject that ends otherwise after a kill, and passes one that does not."""

import argparse
import random
import sys

import pytest

from tests import faults

# Writes its first file at once, and ends only after a while; the careless one trusts a file that it finds.
_PROGRAM = """
import os, pathlib, sys, time
place, careful = pathlib.Path(sys.argv[1]), sys.argv[2] == "careful"
place.mkdir(exist_ok=True)
if careful or not (place / "half").exists():
    (place / "half").write_text("begun")
    time.sleep(0.6)
    (place / "half").write_text("done")
"""


class Program(faults.Subject):
    kind = "careful"

    def command(self, place):
        return [sys.executable, "-S", "-c", _PROGRAM, str(place), self.kind]

    def left(self, place):
        return (place / "half").read_text()

    def state(self, place):
        return "begun" if (place / "half").exists() else "start"


class Careless(Program):
    kind = "careless"


def ends(kind, folder):
    return list(faults.kills([kind("program", folder)], 6, random.Random(1)))


@pytest.mark.slow
def test_a_careful_program_ends_alike_after_every_kill(tmp_path):
    events = ends(Program, tmp_path)
    assert sum(event["event"] == "kill" for event in events) == 6
    assert {event["same"] for event in events if event["event"] == "end"} == {True}
    assert not (tmp_path / "program3").exists()


@pytest.mark.slow
def test_a_careless_one_is_found(tmp_path):
    assert not all(event.get("same", True) for event in ends(Careless, tmp_path))


def test_the_table_counts_kills_and_ends(tmp_path):
    events = [{"event": "kill", "subject": "run", "in": state} for state in ("teacher", "teacher", "start")]
    events += [{"event": "end", "subject": "run", "same": same} for same in (True, False)]
    options = argparse.Namespace(trials=3, seed=0, log=str(tmp_path / "logs" / "x.jsonl"), table=str(tmp_path / "x.md"))
    page = faults.page(events, options)
    assert "| teacher | 2 |" in page and "| all | 3 |" in page and "| run | 2 | 1 |" in page
    assert "([log](logs/x.jsonl))" in page
