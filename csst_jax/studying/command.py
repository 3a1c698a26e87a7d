"""What `csst_jax.compare` and `csst_jax.study` have in common: the runs, and what the terminal shows."""

from __future__ import annotations

import pathlib
import signal
import sys
from typing import TYPE_CHECKING

from csst_jax.runtime import outputs, startup
from csst_jax.runtime.patience import told
from csst_jax.runtime.signals import Preempted, leave_at_once, stop_between_stages
from csst_jax.settings import resolve
from csst_jax.studying import arms, engine, page
from csst_jax.studying.values import Network
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ml_collections import ConfigDict

    from csst_jax.studying.arms import Study


def directory(path: str) -> pathlib.Path:
    """The workdir, on a disk.

    Raises:
      CsstError: it cannot be written to, or is on object storage.
    """
    found = outputs.directory(path, "--workdir")
    if not isinstance(found, pathlib.Path):
        raise CsstError(f"--workdir={path}: runs share files by links, which buckets do not have; give a directory.")
    return found


def finish(make: Callable[[], int]) -> int:
    """Runs a command and says how it ended.

    Returns:
      The exit status: what `make` returns, or 2 when there is something for the user to fix. After SIGTERM or Ctrl-C
      the process ends as that of `csst_jax.main` does.
    """
    stop_between_stages()
    startup.quiet_libraries()
    try:
        return make()
    except Preempted as stopped:
        name = "Ctrl-C" if stopped.number == signal.SIGINT else "SIGTERM"
        print(f"{name}: the runs have saved and ended. Run the same command again to continue.", flush=True)
        leave_at_once(stopped.status)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(
    study: Study,
    workdir: pathlib.Path,
    load: Callable[[str], tuple[ConfigDict, ConfigDict]],
    jobs: int = 1,
    dry_run: bool = False,
) -> int:
    """Runs a study, and writes its page after every run.

    Returns:
      0, or 1 when a run failed.

    Raises:
      CsstError: something the user can fix, such as an arm's settings that do not fit each other. A run that fails is
        none.
      Preempted: see `engine.run_all`.
    """
    runs = arms.runs(study, workdir, load)
    require_sound(runs)
    if dry_run:
        print("\n".join(arms.shown(run.command) for run in runs))
        return 0

    def write() -> None:
        page.write(study, runs, workdir)

    with outputs.errors_told(workdir, goes_on=True):
        if study.prepare:
            with told("making what the study's runs need"):
                study.prepare(workdir, runs)
        failed = engine.run_all(runs, jobs, write)
        table = page.write(study, runs, workdir)
    if table:
        print(f"\n{page.scores(study, table)}\n")
        if others := page.left_out(runs, workdir):
            print(f"{others}\n")
    print(f"tables  {workdir / page.PAGE_FILE}")
    if table:
        print(f"chart   {workdir / page.CHART_FILE}")
        for path in filter(pathlib.Path.exists, [workdir / page.CURVES_FILE]):
            print(f"curves  {path}")
    for one in failed:
        log = one.workdir / engine.OUTPUT_FILE
        print(f"FAILED  {one.name}: {log if log.exists() else 'not started'}", file=sys.stderr)
    return 1 if failed else 0


def require_sound(runs: Sequence[arms.Run]) -> None:
    """Refuses settings that do not fit each other before the first run has taken hours.

    Raises:
      CsstError: as `resolve.run`; names the arm.
    """
    for run in {run.arm.name: run for run in runs}.values():  # its seeds differ in nothing else
        config = run.config.copy_and_resolve_references()
        elsewhere = [key for key, value in run.arm.changes.items() if isinstance(value, Network)]  # not there yet
        config.update_from_flattened_dict(dict.fromkeys(elsewhere, ""))
        try:
            resolve.run(config)
        except CsstError as error:
            raise CsstError(f"arm {run.arm.name!r}: {error}") from error
