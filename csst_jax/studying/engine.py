"""Runs the grid: one run at a time or several, each a process of its own; a study that was stopped goes on.

A finished run has its results.json and is skipped. One that fails is named with its log, and the others go on.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

from csst_jax.data.store import METADATA_FILE
from csst_jax.runtime import claim
from csst_jax.runtime.json_files import differences, read_json, write_json
from csst_jax.runtime.signals import Preempted
from csst_jax.runtime.workdir import CONFIG_FILE, RESULTS_FILE
from csst_jax.settings import ranges, recorded, resolve
from csst_jax.studying import arms, sharing, values
from csst_jax.types import CsstError
from csst_jax.user_files import read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from csst_jax.studying.arms import Run

ASKED_FILE = "asked.json"
"""In each run's directory: what it was asked for, its data, its command and the versions of what it ran with."""
_EARLIER_FILE = "run.json"  # where earlier versions wrote it, in place of the run's own
OUTPUT_FILE = "output.txt"
"""Beside it: all that its last process printed; log.txt has the lines of the log of all."""
_IDS_SHA256 = "labelled_ids_sha256"
_LOOK_EVERY_S = 0.5
_OTHERS_END_S = 120.0
_PACKAGES = ("csst_jax", "jax", "jaxlib", "flax", "optax", "numpy")


def run_all(
    runs: Sequence[Run],
    jobs: int,
    finished: Callable[[], None],
    *,
    start: Callable[[Run], subprocess.Popen[bytes]] | None = None,
    look_every_s: float = _LOOK_EVERY_S,
) -> list[Run]:
    """Runs what is not finished.

    Args:
      runs: in the order in which they begin.
      jobs: how many at a time.
      finished: called whenever one has finished, and once at the beginning.
      start: begins a run; by default its command as a process.
      look_every_s: seconds between two looks at the processes.

    Returns:
      The runs that failed, and those that need one of them.

    Raises:
      CsstError: a finished run was asked for something else.
      Preempted: SIGTERM or Ctrl-C came; all processes have saved and ended.
    """
    for run in runs:
        _require_same(run)
    pending = [run for run in runs if not is_finished(run)]
    if len(pending) < len(runs):
        print(f"{len(runs) - len(pending)} of {len(runs)} runs are finished already.", flush=True)
    finished()
    running: dict[int, tuple[Run, subprocess.Popen[bytes], float]] = {}
    failed: list[Run] = []

    def tell(run: Run, what: str) -> None:
        print(f"[{runs.index(run) + 1}/{len(runs)}] {run.name}: {what}", flush=True)

    try:
        while pending or running:
            for run in list(pending):
                under_way = [other for other, _, _ in running.values()]
                if lacking := _needed(run, failed):
                    pending.remove(run)
                    failed.append(run)
                    tell(run, f"not started, as it needs {lacking}")
                elif _needed(run, [*under_way, *pending]) or len(running) == jobs or sharing.waits(run, under_way):
                    continue
                else:
                    pending.remove(run)
                    tell(run, f"started{_prepare(run, runs)}; log: {run.workdir / OUTPUT_FILE}")
                    running[runs.index(run)] = (run, (start or _process)(run), time.monotonic())
            for number, (run, process, began) in list(running.items()):
                status = process.poll()
                if status is None:
                    continue
                del running[number]
                if status == 0 and is_finished(run):
                    tell(run, f"finished in {(time.monotonic() - began) / 60:.1f} min")
                    finished()
                else:
                    failed.append(run)
                    tell(run, failure(run, status))
            if running:
                time.sleep(look_every_s)
    except Preempted as stopped:
        _stop([process for _, process, _ in running.values()], stopped.number)
        raise
    except BaseException:
        _stop([process for _, process, _ in running.values()], signal.SIGTERM)
        raise
    return failed


def is_finished(run: Run) -> bool:
    """Whether it has its scores."""
    return (run.workdir / RESULTS_FILE).exists()


def failure(run: Run, status: int) -> str:
    """What to say of a run that ended without scores: the last line that tells why, and where the rest is."""
    path = run.workdir / OUTPUT_FILE
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    telling = [line for line in lines if line.startswith("error: ")] or [line for line in lines if line.strip()]
    why = f" ({telling[-1].removeprefix('error: ')})" if telling else ""
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    return f"FAILED, ended {how}{why}; its log is {path}"


def versions() -> dict[str, str]:
    """Of Python and the packages that decide a result."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed, from a checkout"
    return found


def noted(run: Run) -> dict[str, Any]:
    """What `ASKED_FILE` holds; {} of a run that was started by hand."""
    for name in (ASKED_FILE, _EARLIER_FILE):
        path = run.workdir / name
        if path.exists() and "asked" in (found := read_json(path)):
            return found
    return {}


def _data_sha256(run: Run) -> str:
    """Fingerprint of what the run's data set was prepared from; empty where it cannot be read, which the run tells."""
    try:
        opened = resolve.data(run.config).open()
        return str(read_json(opened.directory / METADATA_FILE).get("source_sha256", ""))
    except CsstError:
        return ""


def _ids_sha256(run: Run) -> str:
    """Of the lines of data.labelled_ids; empty where there are none, or they cannot be read, which the run tells."""
    if not run.config.data.labelled_ids:
        return ""
    try:
        lines = read_text(run.config.data.labelled_ids, "one id per line (data.labelled_ids)").splitlines()
    except CsstError:
        return ""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _require_same(run: Run) -> None:
    """Refuses to take the scores of other settings, or of other data, for this run's."""
    if not is_finished(run):
        return
    found = noted(run)
    before, now = found.get("data_sha256"), _data_sha256(run)
    if before and now and before != now:
        raise CsstError(
            f"{run.name} is finished in {run.workdir}, and its data set {run.config.data.dir} was prepared anew since. "
            "Scores on different data cannot be compared: use another --workdir."
        )
    there, here = (found["asked"], _jsonable(run.asked())) if found else _by_hand(run)
    before, now = found.get(_IDS_SHA256), _ids_sha256(run)
    if before and now:  # the images count, wherever their list lies
        there, here = there | {"data.labelled_ids": before}, here | {"data.labelled_ids": now}
    if differing := differences(there, here):
        raise CsstError(
            f"{run.name} is finished in {run.workdir} with other settings. What differs: {', '.join(differing)}. Use "
            f"another --workdir, or delete {run.workdir} to run it again."
        )


def _by_hand(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a run that was started by hand, as --dry_run prints it, and those that it is asked for.

    Without sizes that a run chooses itself, and without networks and files of the study, which may lie elsewhere now.
    """
    path = run.workdir / CONFIG_FILE
    if not path.exists():
        return {}, {}
    there = ranges.flattened(read_json(path))
    asked = _jsonable(ranges.flattened(recorded.with_whole_paths(run.config)))
    left_out = values.wherever(run.arm.changes)
    keys = [k for k in asked.keys() & there.keys() - left_out.keys() if arms.changes_results(k) and asked[k] != -1]
    return {key: there[key] for key in keys}, {key: asked[key] for key in keys}


def _needed(run: Run, others: Sequence[Run]) -> str:
    """Names of those of other runs that it needs."""
    return ", ".join(other.name for other in others if other.name in run.needs)


def _jsonable(values: dict[str, Any]) -> dict[str, Any]:
    """The values as a file gives them back: with lists in place of tuples, and of the tuples in these."""
    return json.loads(json.dumps(values))


def _prepare(run: Run, runs: Sequence[Run]) -> str:
    """Waits for the end of a process that has the directory still, notes what is asked for, links what others made.

    Returns:
      What was linked, for people.
    """
    with contextlib.ExitStack() as stack:
        until = time.monotonic() + _OTHERS_END_S
        while True:
            try:
                stack.enter_context(claim.locked(run.workdir))
                break
            except CsstError:
                if time.monotonic() > until:
                    raise
                time.sleep(1.0)
        shared = sharing.link(run, runs)
        asked = {"asked": _jsonable(run.asked()), "command": list(run.command), "versions": versions()}
        data = {"data_sha256": _data_sha256(run), _IDS_SHA256: _ids_sha256(run)}
        write_json(run.workdir / ASKED_FILE, asked | data)
    return f", takes {' and '.join(shared)}" if shared else ""


def _process(run: Run) -> subprocess.Popen[bytes]:
    """The run's command. It is told by SIGTERM, and saves, when this process is killed."""
    with (run.workdir / OUTPUT_FILE).open("wb") as output:
        return subprocess.Popen(
            run.command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, preexec_fn=_end_with_parent
        )


def _end_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):  # Linux alone has it
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _stop(processes: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    """Hands a signal on, and waits until all have saved and ended."""
    for process in processes:
        with contextlib.suppress(OSError):
            os.kill(process.pid, number)
    for process in processes:
        process.wait()
