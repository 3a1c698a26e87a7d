"""Writes a results page from runs' results.json, which it copies beside the page so that every figure can be traced.

python -m benchmarks.results_table --out=docs/results/camvid.md --title="CamVid, 46 masks" \
      "with centroid sampling=runs/camvid" "without=runs/camvid-uniform"
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import whole_file
from csst_jax.types import CsstError

_NETWORKS = ("teacher", "baseline", "student")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 2 for a run that cannot be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=WORKDIR", help="a run's name on the page, and its workdir")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="Markdown file to write")
    parser.add_argument("--title", required=True, help="heading of the page")
    parser.add_argument("--note", default="", help="a paragraph under the heading")
    parser.add_argument(
        "--seeds", action="store_true", help="the runs differ in their seed: add the gain's mean and range"
    )
    options = parser.parse_args(arguments)
    try:
        logs = [_copied(run, options.out) for run in options.runs]
        text = page(options.title, options.note, logs, seeds=options.seeds)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    whole_file.write(options.out, text)
    print(f"wrote {options.out}")
    return 0


def _copied(run: str, out: pathlib.Path) -> tuple[str, str, dict[str, Any]]:
    """(name, file name of the log, results) of one NAME=WORKDIR; WORKDIR may be a log that was copied earlier."""
    name, equals, workdir = run.partition("=")
    source = pathlib.Path(workdir)
    if source.is_dir():
        source = source / "results.json"
    try:
        results = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CsstError(f"{run!r}: cannot read {source} ({error}); give NAME=WORKDIR of a finished run.") from error
    if not equals or "teacher" not in results:
        raise CsstError(f"{run!r}: give NAME=WORKDIR of a finished run.")
    log = out.parent / "logs" / log_name(out.stem, name)
    if source.resolve() != log.resolve():
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return name, f"logs/{log.name}", results


def log_name(page: str, run: str) -> str:
    """The file name of a run's results beside a page."""
    return f"{page}-{'-'.join(re.findall('[a-z0-9]+', run.lower()))}.json"


def page(
    title: str,
    note: str,
    logs: Sequence[tuple[str, str, dict[str, Any]]],
    *,
    seeds: bool,
    writer: str = "benchmarks.results_table",
) -> str:
    """The page's Markdown; `writer` is the module that it names as its own."""
    lines = [f"# {title}", "", f"`python -m {writer}` writes this page. Do not edit it.", ""]
    lines += [note, ""] if note else []
    networks = [n for n in _NETWORKS if any(n in results for _, _, results in logs)]
    lines += _markdown(
        [
            "run",
            *(f"{n} mIoU" for n in networks),
            "student - teacher",
            *(f"{n} steps" for n in networks),
            "minutes",
            "log",
        ],
        [
            [
                name,
                *(_percent(results.get(n, {}).get("miou")) for n in networks),
                f"{100 * _gain(results):+.1f}",
                *(str(results.get(n, {}).get("steps", "-")) for n in networks),
                f"{sum(results['wall_s'].values()) / 60:.0f}",
                f"[{pathlib.Path(log).name}]({log})",
            ]
            for name, log, results in logs
        ],
    )
    if seeds:
        gains = [100 * _gain(results) for _, _, results in logs]
        wins = sum(gain > 0 for gain in gains)
        lines += [
            "",
            f"The student beats the teacher in {wins} of {len(gains)} runs; gain in mIoU points: "
            f"mean {statistics.fmean(gains):+.1f}, range {min(gains):+.1f} to {max(gains):+.1f}.",
        ]
    shown = [(f"{name}: {n}", results[n]["iou"]) for name, _, results in logs for n in networks if n in results]
    lines += ["", "## IoU by class, in percent", ""]
    classes = list(shown[0][1])
    lines += _markdown(["", *classes], [[name, *(_percent(iou[c]) for c in classes)] for name, iou in shown])
    return "\n".join(lines) + "\n"


def _gain(results: dict[str, Any]) -> float:
    return results["student"]["miou"] - results["teacher"]["miou"] if "student" in results else float("nan")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *["--:"] * (len(header) - 1)]
    return ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]


if __name__ == "__main__":
    sys.exit(main())
