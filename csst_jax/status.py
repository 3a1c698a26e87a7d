"""`python -m csst_jax.status --workdir=DIR [--json]`: how far a run is: done, running, stopped or silent; since when.

It only reads files, so it works at any time, on any machine that sees the workdir.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

from csst_jax.arguments import Parser, print_all
from csst_jax.reporting.collected import collect
from csst_jax.runtime.patience import clock_time
from csst_jax.runtime.signals import tell_interruption
from csst_jax.runtime.storage import StoragePath, as_path
from csst_jax.runtime.workdir import DONE_FILE, ERROR, EVALUATION, LABELS, LOCK_FILE, LOG_FILE, RESULTS_FILE, STAGE_FILE
from csst_jax.settings import rounds
from csst_jax.types import CsstError

_CLAIM_S = 60.0
"""A claim in a bucket is renewed every quarter of a minute; one that is older is nobody's."""
_SILENT_S = 600.0
"""A run that says nothing for so long may hang; compilations and long steps say what they are every half minute."""


def status(workdir: str | os.PathLike[str], now: float | None = None) -> dict[str, Any]:
    """How far a run is.

    Args:
      workdir: the run's.
      now: seconds since the epoch; None for the clock's.

    Returns:
      `state` ("finished", "running", "silent", "stopped"), `since` (seconds since the epoch), `holder`, `last_line` of
      the log with `silent_s`, and `stages`: by name `state`, `since`, `step`, `steps`, `left_s`; None where unknown.

    Raises:
      CsstError: it is no workdir, or one of its files is damaged.
    """
    path, now = as_path(workdir, "--workdir"), time.time() if now is None else now
    run = collect(path)
    alive, holder = _held(path, now)
    log = path / LOG_FILE
    silent_s = now - _changed(log) if log.exists() else None
    asked_for = run.config.get("stages", "teacher,label,student,evaluate").replace("label", LABELS)
    wanted = [stage.strip() for stage in asked_for.split(",")]
    turns = rounds.of(run.config.get("rounds", 1))
    if "student" not in wanted and not (path / "student" / DONE_FILE).exists():
        turns = turns[:1]  # as the pipeline does it: without a student it ends with the first labels
    names = ["teacher", *(name for turn in turns for name in (turn.labels, turn.student)), "baseline"]
    names = [name for name in names if name.rpartition("/")[2] in wanted or (path / name).exists()]
    stages = {name: _stage(path, name, run.networks | run.earlier) for name in names}
    if "evaluate" in wanted:
        stages["evaluate"] = _evaluation(path, stages)
    unfinished = [name for name, stage in stages.items() if stage["state"] != "done"]
    if not unfinished:
        state = "finished"
    elif alive:
        state = "silent" if silent_s is not None and silent_s > _SILENT_S else "running"
        # Stages follow each other: the first one that is not done is at work.
        stages[unfinished[0]]["state"] = state
    else:
        state = "stopped"
    known = [stage["since"] for stage in stages.values() if stage["since"] and stage["state"] != "waiting"]
    since = max(known, default=None) if state == "finished" else (_changed(log) if log.exists() and not alive else None)
    if alive and unfinished:
        since = stages[unfinished[0]]["since"]
    last = log.read_text(encoding="utf-8").splitlines()[-1:] if log.exists() else []
    return {
        "workdir": os.fspath(path),
        "state": state,
        "since": since,
        "holder": holder,
        "silent_s": silent_s,
        "last_line": last[0] if last else None,
        "stages": stages,
    }


def _held(workdir: StoragePath, now: float) -> tuple[bool, str | None]:
    """Whether a run holds the workdir, and which; see `csst_jax.runtime.claim`."""
    path = workdir / LOCK_FILE
    if not path.exists():
        return False, None
    if not isinstance(path, pathlib.Path):
        holder = json.loads(path.read_text())
        return now - _changed(path) < _CLAIM_S, f"process {holder['process']} on {holder['host']}"
    with path.open("r", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True, f"process {lock.read().strip()}"
        except OSError:  # no locks on this file system: what was said lately tells
            log = workdir / LOG_FILE
            return log.exists() and now - _changed(log) < _CLAIM_S, None
    return False, None


def _stage(workdir: StoragePath, name: str, networks: dict[str, Any]) -> dict[str, Any]:
    directory = workdir / name
    found: dict[str, Any] = {"state": "waiting", "since": None, "step": None, "steps": None, "left_s": None}
    if (directory / DONE_FILE).exists():
        found |= {"state": "done", "since": _changed(directory / DONE_FILE)}
    elif (directory / STAGE_FILE).exists():
        plan = directory / "plan.json"
        found |= {"state": "stopped", "since": _changed(plan if plan.exists() else directory / STAGE_FILE)}
    if name in networks:
        network = networks[name]
        line = network.lines[-1] if network.lines else {}
        found |= {"step": line.get("step", 0), "steps": network.steps, "left_s": line.get("left_s")}
    if name.endswith(LABELS) and found["state"] != "waiting":
        found["step"] = sum(1 for _ in (directory / "parts").glob("[0-9]*.json"))
    if found["state"] == "done":
        found["left_s"] = 0.0
    return found


def _evaluation(workdir: StoragePath, stages: dict[str, Any]) -> dict[str, Any]:
    networks = [name for name in stages if not name.endswith(LABELS)]
    done = [path for name in networks if (path := workdir / name / EVALUATION / DONE_FILE).exists()]
    results = workdir / RESULTS_FILE
    finished = results.exists() and len(done) == len(networks)
    begun = [path for name in networks if (path := workdir / name / EVALUATION / STAGE_FILE).exists()]
    since = _changed(results) if finished else max(map(_changed, begun), default=None)
    state = "done" if finished else "stopped" if begun else "waiting"
    return {"state": state, "since": since, "step": len(done), "steps": len(networks), "left_s": None}


def _changed(path: StoragePath) -> float:
    stat: Any = path.stat()  # pathlib's or epath's
    return float(stat.st_mtime if isinstance(path, pathlib.Path) else stat.mtime)


def words(found: dict[str, Any]) -> str:
    """A status for people: lines without a trailing newline."""
    said = {
        "finished": "finished",
        "running": "running",
        "silent": "running, but silent: it may hang",
        "stopped": "stopped",
    }
    head = f"{found['workdir']}: {said[found['state']]}"
    head += f" since {_clock(found['since'])}" if found["since"] else ""
    head += f" ({found['holder']})" if found["holder"] else ""
    if found["state"] == "stopped":
        failed = ERROR in (found["last_line"] or "")
        head += "; an error ended it" if failed else "; the same command continues it"
    rows = [("stage", "state", "since", "step", "left")]
    for name, stage in found["stages"].items():
        of = f" of {stage['steps']:,}" if stage["steps"] else ""
        unit = f" file{'s' * (stage['step'] != 1)}" if name.endswith(LABELS) else " networks" * (name == "evaluate")
        step = "" if stage["step"] is None else f"{stage['step']:,}{of}{unit}"
        left = _left(stage["left_s"]) if stage["state"] in ("running", "silent") else ""
        rows.append((name, stage["state"], _clock(stage["since"]) if stage["since"] else "", step, left))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [head, *("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)]
    if found["last_line"] and found["state"] != "finished":
        lines.append(f"last line of log.txt, {_left(found['silent_s'])} ago: {found['last_line']}")
    return "\n".join(lines)


def _clock(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def _left(seconds: float | None) -> str:
    return "not known yet" if seconds is None else clock_time(seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser("csst_jax.status", "Says how far a run is, without disturbing it.")
    parser.add_argument("--workdir", required=True, help="directory of a run")
    parser.add_argument(
        "--json", action="store_true", help="print JSON for a script; times are seconds since the epoch"
    )
    parsed = parser.parse_args(arguments)
    try:
        found = status(parsed.workdir)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print_all(json.dumps(found, indent=2) if parsed.json else words(found))
    return 0


if __name__ == "__main__":
    tell_interruption()
    sys.exit(main())
