"""`python -m csst_jax.report --workdir=DIR`: writes a run's report again; of several runs, a page that compares them.

A report is one file. It needs no other file and no connection. A run writes its report after each stage. For several
workdirs, separated by commas, the page is comparison.html beside the first workdir, or --output.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from csst_jax.arguments import Parser
from csst_jax.reporting import (
    collected,
    comparison,
    costs,
    curves,
    gallery,
    labels,
    matrix,
    overview,
    rounds,
    scores,
    verdict,
)
from csst_jax.reporting.page import page
from csst_jax.runtime.outputs import errors_told
from csst_jax.runtime.signals import tell_interruption
from csst_jax.runtime.storage import StoragePath, as_path, replacing
from csst_jax.types import CsstError

REPORT_FILE, COMPARISON_FILE = "report.html", "comparison.html"


def write_report(workdir: str | os.PathLike[str]) -> StoragePath:
    """Writes workdir/report.html, atomically, from what is in the workdir by now.

    Parts that a run does not have (a baseline, a student that is still to come) are left out.

    Returns:
      The report's path.

    Raises:
      CsstError: it is no workdir, or one of its files is damaged.
    """
    workdir = as_path(workdir, "--workdir")
    run = collected.collect(workdir)
    sections = [
        verdict.conclusion(run),
        overview.stages(run),
        scores.by_class(run),
        gallery.normal(run),
        gallery.worst(run),
        matrix.confusion(run),
        curves.learning(run),
        labels.quality(run),
        rounds.changes(run),
        curves.draws(run),
        overview.facts(run),
        costs.costs(run),
    ]
    return _written(workdir / REPORT_FILE, page(f"csst_jax: {run.name}", sections))


def write_comparison(workdirs: Sequence[str | os.PathLike[str]], output: str | None = None) -> StoragePath:
    """Writes a page that compares runs, atomically.

    Args:
      workdirs: of the runs, two or more.
      output: the file; None for `comparison.html` beside the first workdir.

    Returns:
      The page's path.

    Raises:
      CsstError: one of them is no workdir; or their classes differ.
    """
    paths = [as_path(workdir, "--workdir") for workdir in workdirs]
    made = page(
        f"csst_jax: {len(paths)} runs compared", comparison.sections([collected.collect(path) for path in paths])
    )
    return _written(as_path(output, "--output") if output else paths[0].parent / COMPARISON_FILE, made)


def _written(path: StoragePath, text: str) -> StoragePath:
    with errors_told(path), replacing(path) as made:
        made.write_text(text, encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(
        "csst_jax.report", "Writes WORKDIR/report.html again; with several workdirs, a page that compares them."
    )
    parser.add_argument(
        "--workdir", required=True, action="append", help="directory of a run, or several, separated by commas"
    )
    parser.add_argument("--output", help="file of the comparison; default: comparison.html beside the first workdir")
    parsed = parser.parse_args(arguments)
    workdirs = [workdir.strip() for workdir in ",".join(parsed.workdir).split(",")]
    try:
        if len(workdirs) == 1 and parsed.output:
            raise CsstError("--output is for a comparison; a run's report is WORKDIR/report.html.")
        print(write_report(workdirs[0]) if len(workdirs) == 1 else write_comparison(workdirs, parsed.output))
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    tell_interruption()
    sys.exit(main())
