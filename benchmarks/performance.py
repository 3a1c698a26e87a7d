"""Writes docs/performance.md from logs of the benchmarks; with --record it runs one and saves its log.

python -m benchmarks.performance --record=schedule
python -m benchmarks.performance

A log is the command, the machine it ran on, and what it printed; its last line is JSON.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import whole_file
from benchmarks.performance_sections import SECTIONS, Section
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "performance.md"
LOGS = ROOT / "docs" / "results" / "logs" / "performance"
_PACKAGES = ("jax", "jaxlib", "flax", "tensorflow-cpu", "torch", "torchvision")
_SETTINGS = ("MALLOC_", "OMP_", "XLA_", "JAX_", "TF_CPP_", "TF_ENABLE_", "PYTHONDONTWRITEBYTECODE")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.performance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ", ".join(section.name for section in SECTIONS)
    parser.add_argument("--record", metavar="NAME", help=f"run this benchmark and save its log; one of {names}")
    parser.add_argument("--command", help="what to run instead of the section's own command, `python -m … --json`")
    options = parser.parse_args(arguments)
    try:
        if options.record:
            print(f"wrote {record(options.record, options.command)}")
        else:
            text = page(LOGS)
            whole_file.write(DOCUMENT, text)
            print(f"wrote {DOCUMENT}")
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def record(name: str, command: str | None = None, logs: pathlib.Path = LOGS) -> pathlib.Path:
    """Runs a section's benchmark, shows what it prints, and saves it; the log appears only if it succeeded.

    Raises:
      CsstError: no such section, or the benchmark failed or printed no JSON at the end.
    """
    known = {section.name: section for section in SECTIONS}
    if name not in known:
        raise CsstError(f"--record={name}: no such benchmark; known are: {', '.join(known)}.")
    command = command or known[name].command
    words = shlex.split(command)
    printed = []
    with subprocess.Popen(
        [sys.executable, *words[1:]] if words[0].startswith("python") else words,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            printed.append(line)
    if process.returncode != 0:
        raise CsstError(f"`{command}` ended with status {process.returncode}; no log was written.")
    log = logs / f"{name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    text = "".join([f"{command}\n", f"{machine()}\n", *printed])
    _parsed(text, log, command)
    whole_file.write(log, text)
    return log


def machine() -> str:
    """One line: processor, cores of this process, versions, and settings that change the speed."""
    model = platform.processor() or platform.machine()
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [f"{model}, {cores} cores", f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            parts.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    parts += [f"{key}={value}" for key, value in sorted(os.environ.items()) if key.startswith(_SETTINGS)]
    return "; ".join(parts)


def page(logs: pathlib.Path) -> str:
    """The document's Markdown.

    Raises:
      CsstError: a log is damaged; names the command that makes it.
    """
    lines = [
        "# Performance",
        "",
        "`python -m benchmarks.performance` writes this page. Do not edit it. Both sides of a comparison run in turn. "
        "A ratio is the median of the pairs, with the range beside it. `--record=NAME` runs a benchmark again and "
        "saves its log.",
    ]
    for section in SECTIONS:
        if section.rows_of:
            continue
        log = logs / f"{section.name}.txt"
        if not log.is_file():
            again = f"`python -m benchmarks.performance --record={section.name}`"
            lines += ["", f"## {section.title}", "", section.text, "", f"Not measured yet: {again}."]
            continue
        command, where, shown = _parsed(log.read_text(encoding="utf-8"), log, section.command)
        shown, more = _with_rows(shown, [each for each in SECTIONS if each.rows_of == section.name], logs)
        lines += ["", f"## {section.title}", "", section.text, "", *shown, "", f"`{command}` ({_link(log)})", ""]
        lines += [*more, f"Measured on {where}."]
    return "\n".join(lines) + "\n"


def _with_rows(shown: Sequence[str], others: Sequence[Section], logs: pathlib.Path) -> tuple[list[str], list[str]]:
    """What a section shows, its table with the rows of other sections' logs behind its own; and lines on these logs."""
    end = 1 + max((k for k, line in enumerate(shown) if line.startswith("|")), default=-1)
    rows, about = [], []
    for section in others:
        log = logs / f"{section.name}.txt"
        if not log.is_file():
            about += [
                f"{section.title}: not measured yet: `python -m benchmarks.performance --record={section.name}`.",
                "",
            ]
            continue
        _, _, printed = _parsed(log.read_text(encoding="utf-8"), log, section.command)
        rows += [line for line in printed if line.startswith("|")][2:]
        about += [f"{section.title}: {_link(log)}.", ""]
    return [*shown[:end], *rows, *shown[end:]], about


def _link(log: pathlib.Path) -> str:
    return f"[{log.name}](results/logs/performance/{log.name})"


def _parsed(text: str, log: pathlib.Path, command: str) -> tuple[str, str, list[str]]:
    """(command, machine, what it printed without the JSON) of a log."""
    lines = text.rstrip("\n").split("\n")
    try:
        found = json.loads(lines[-1])
    except ValueError:
        found = None
    if len(lines) < 4 or not isinstance(found, dict | list):
        raise CsstError(f"{log}: no JSON in the last line; record it again with `{command}`, --json among its flags.")
    shown = lines[2:-1]
    while shown and not shown[-1].strip():
        shown.pop()
    return lines[0], lines[1], shown


if __name__ == "__main__":
    sys.exit(main())
