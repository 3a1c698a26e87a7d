"""Kills a run at random moments until so many kills are done, and compares every run's end with an undisturbed one.

python -m tests.faults --trials=100 --log=docs/results/logs/faults.jsonl --table=docs/results/faults.md

A run (teacher, pseudo labels, student, evaluation, on a tiny data set), a mean teacher, or a data set's preparation is
started, killed with SIGKILL at a moment drawn evenly from its undisturbed duration, started again, killed again, and so
on, five times; then it is left to end, and must give the same weights, pseudo labels and scores (a data set: the same
files) as a run that nobody touched. The log has one line of JSON a kill and a run's end; the table is written from it.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from tests.small_runs import MEAN_TEACHER, ROOT, results, state_of, toy_command

KILLS_A_RUN = 5


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit status is 1 if any run ended otherwise than the undisturbed one."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=100, help="kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", default="", help="file for a line of JSON a kill; by default a temporary one")
    parser.add_argument("--table", default="", help="Markdown file to write")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        folder = pathlib.Path(directory)
        log = pathlib.Path(options.log) if options.log else folder / "faults.jsonl"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as lines:
            for event in campaign(folder, options.trials, options.seed):
                print(json.dumps(event), file=lines, flush=True)
                print(event, flush=True)
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if options.log else []
    if options.table and options.log:
        pathlib.Path(options.table).write_text(page(events, options), encoding="utf-8")
    return int(any(not event.get("same", True) for event in events))


class Subject:
    """Something to kill: its command, what it leaves, and how long it takes undisturbed."""

    def __init__(self, name: str, folder: pathlib.Path):
        self.name, self._folder = name, folder
        self._number = 0
        self.run(self.fresh())  # its programs are in the cache from then on
        reference = self.fresh()
        began = time.monotonic()
        self.run(reference)
        self.seconds = time.monotonic() - began
        self.expected = self.left(reference)

    def fresh(self) -> pathlib.Path:
        """A new place to run in."""
        self._number += 1
        return self._folder / f"{self.name}{self._number}"

    def command(self, place: pathlib.Path) -> list[str]:
        raise NotImplementedError

    def left(self, place: pathlib.Path) -> Any:
        """What must be equal at the end."""
        raise NotImplementedError

    def state(self, place: pathlib.Path) -> str:
        raise NotImplementedError

    def start(self, place: pathlib.Path) -> subprocess.Popen[str]:
        """In a session of its own, so that its worker processes die with it."""
        return subprocess.Popen(
            self.command(place),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, place: pathlib.Path) -> str:
        """To the end; returns what was printed.

        Raises:
          RuntimeError: it failed; has the output.
        """
        process = self.start(place)
        output, _ = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"{self.name} ended with {process.returncode}:\n{output}")
        return output


class Run(Subject):
    """All stages of `csst_jax.main`."""

    def command(self, place: pathlib.Path) -> list[str]:
        cache = f"--config.compilation_cache_dir={self._folder / 'cache'}"
        return toy_command(self._folder / "data", place, cache)

    def left(self, place: pathlib.Path) -> Any:
        return results(place)  # with the hashes of weights and pseudo labels

    def state(self, place: pathlib.Path) -> str:
        return state_of(place)


class MeanTeacher(Run):
    """A student whose method has a state of its own."""

    def command(self, place: pathlib.Path) -> list[str]:
        return [*super().command(place), *MEAN_TEACHER]


class Preparation(Subject):
    """`data_prep.synthetic`, which writes records, an index and metadata."""

    def command(self, place: pathlib.Path) -> list[str]:
        sizes = ["--num_labelled=3", "--num_unlabelled=3", "--num_val=2"]
        return [sys.executable, "-m", "data_prep.synthetic", f"--data_dir={place}", *sizes]

    def left(self, place: pathlib.Path) -> Any:
        return hashes(place, "*centroids*"), hashes(place, "*array_record*")

    def state(self, place: pathlib.Path) -> str:
        return "preparation" if any(place.rglob("*")) else "start"


def hashes(folder: pathlib.Path, pattern: str) -> dict[str, str]:
    """SHA-256 of the files below, by their relative path."""
    files = sorted(path for path in folder.rglob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def campaign(folder: pathlib.Path, trials: int, seed: int) -> Any:
    """Yields what happened, as dicts."""
    rng = random.Random(seed)
    preparation = Preparation("preparation", folder)
    shutil.copytree(folder / "preparation2", folder / "data")
    subjects = [preparation, MeanTeacher("mean_teacher", folder), Run("run", folder)]
    yield from kills(subjects, trials, rng)


def kills(subjects: list[Subject], trials: int, rng: random.Random) -> Any:
    """Yields each kill and each end."""
    for subject in subjects:
        yield {"event": "undisturbed", "subject": subject.name, "seconds": round(subject.seconds, 1)}
    done = 0
    while done < trials:
        # A run has more to lose.
        subject = subjects[0] if rng.random() < 0.15 else rng.choice(subjects[1:] or subjects)
        place = subject.fresh()
        for _ in range(min(KILLS_A_RUN, trials - done)):
            process = subject.start(place)
            time.sleep(rng.uniform(0, subject.seconds))
            over = process.poll() is not None
            if not over:
                os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            if over and process.returncode != 0:
                yield {"event": "end", "subject": subject.name, "same": False, "output": output[-2000:]}
            if over:
                break
            done += 1
            yield {"event": "kill", "subject": subject.name, "in": subject.state(place)}
        subject.run(place)
        yield {"event": "end", "subject": subject.name, "same": subject.left(place) == subject.expected}
        shutil.rmtree(place)


def page(events: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """The table."""
    kills = collections.Counter(event["in"] for event in events if event["event"] == "kill")
    ends = collections.Counter((event["subject"], event["same"]) for event in events if event["event"] == "end")
    log = os.path.relpath(options.log, pathlib.Path(options.table).parent)
    lines = [
        "# Kills at random moments",
        "",
        f"`python -m tests.faults --trials={options.trials} --seed={options.seed}` writes this page ([log]({log})). "
        f"Each run is killed up to {KILLS_A_RUN} times and started again. Its result is compared with that of an "
        "undisturbed run: weights, pseudo labels and scores, or records and index of a preparation.",
        "",
        "| killed while in | kills |",
        "| --- | --: |",
        *(f"| {state} | {count} |" for state, count in sorted(kills.items())),
        f"| all | {sum(kills.values())} |",
        "",
        "| what was run | finished | equal to the undisturbed run |",
        "| --- | --: | --: |",
        *(
            f"| {name} | {ends[name, True] + ends[name, False]} | {ends[name, True]} |"
            for name in sorted({subject for subject, _ in ends})
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
