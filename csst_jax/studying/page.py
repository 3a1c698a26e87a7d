"""A study's page: tables in Markdown, which a terminal shows as well, and the chart beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csst_jax.runtime.json_files import write_json
from csst_jax.runtime.storage import replacing
from csst_jax.runtime.workdir import RESULTS_FILE, STUDY_FILE
from csst_jax.studying import chart, curves, results
from csst_jax.studying.arms import shown
from csst_jax.studying.engine import OUTPUT_FILE, is_finished, noted

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable, Sequence

    from csst_jax.studying.arms import Run, Study
    from csst_jax.studying.results import Row, Spread

PAGE_FILE, CHART_FILE, CURVES_FILE = "study.md", "study.svg", "curves.svg"
NOTES_FILE = "notes.md"
"""What the study itself has to say, from `Study.prepare`."""
_READ = (
    "mIoU in percent on the validation split, of the weights after the last step. ± is the standard deviation over the "
    "seeds. Steps are of the network that is scored; `before` counts those of the teacher and of earlier rounds. "
    "Minutes are wall time: `min` is the training of that network. `min in all` includes teacher and labels, even if "
    "another row made them. Labels are the files of pseudo labels. Memory is of the largest compiled training step, on "
    "one device."
)


def write(study: Study, runs: Sequence[Run], workdir: pathlib.Path) -> list[Row]:
    """Writes study.md, study.svg, study.json and, for a study with points of curves, curves.svg, each whole.

    Returns:
      The table's rows.

    Raises:
      CsstError: a run's results cannot be read.
    """
    table = results.rows(study, runs)
    write_json(workdir / STUDY_FILE, results.as_json(study, runs, table))
    notes = workdir / NOTES_FILE
    said = notes.read_text(encoding="utf-8") if notes.exists() else ""
    said = "\n\n".join(filter(None, [said.strip(), left_out(runs, workdir)]))
    for name, text in files(study, runs, table, said).items():
        with replacing(workdir / name) as made:
            made.write_text(text, encoding="utf-8")
    return table


def left_out(runs: Sequence[Run], workdir: pathlib.Path) -> str:
    """Names finished runs of the workdir that are none of these: another call chose other arms, methods or seeds."""
    shown = {run.workdir.name for run in runs}
    others = sorted(path.parent.name for path in workdir.glob(f"runs/*/{RESULTS_FILE}"))
    listed = ", ".join(f"`{name}`" for name in others if name not in shown)
    return f"Finished, and not in these tables, as the last command did not choose them: {listed}." if listed else ""


def files(study: Study, runs: Sequence[Run], table: Sequence[Row], notes: str) -> dict[str, str]:
    """The page and its charts, by the names of their files.

    Args:
      study: what was studied.
      runs: whose commands and versions the page names, and which of them are missing.
      table: the rows.
      notes: what the study itself has to say.
    """
    found = {PAGE_FILE: _page(study, runs, table, notes)}
    if table:
        found[CHART_FILE] = chart.dots(table, study.title)
    if panels := curves.of_rows(study, table):
        found[CURVES_FILE] = curves.drawn(panels, study.axis, "mIoU, %", 100.0)
    return found


def scores(study: Study, table: Sequence[Row]) -> str:
    """The table of all rows."""
    own = any(arm.reference for arm in study.arms)
    against = ["gain", "on", "better in"] if own else [f"− {study.reference}", "better in"] if study.reference else []
    header = ["", "mIoU", "seeds", *against, "steps", "before", "min", "min in all", "labels, MiB", "memory, MiB"]
    body = []
    for row in table:
        gain = [""] * len(against)
        if row.gain is not None:
            on = [row.reference] if own else []
            gain = [_percent(row.gain, sign=True), *on, f"{row.better} of {row.gain.count}"]
        body.append(
            [
                row.name,
                _percent(row.miou),
                str(row.miou.count),
                *gain,
                _number(row.steps),
                _number(row.steps_before),
                _number(row.training_s, 60, 1),
                _number(row.total_s, 60, 1),
                _number(row.label_bytes, 2**20, 2),
                _number(row.memory_bytes, 2**20),
            ]
        )
    return table_of(header, body)


def _page(study: Study, runs: Sequence[Run], table: Sequence[Row], notes: str) -> str:
    parts = [f"# {study.title}", study.about, _READ] if study.about else [f"# {study.title}", _READ]
    if table:
        classes = dict.fromkeys(name for row in table for name in row.iou)
        by_class = [[name, *(_percent(row.iou[name]) if name in row.iou else "" for row in table)] for name in classes]
        parts += [
            scores(study, table),
            "Each point of the chart is one seed.",
            f"![mIoU of each arm and seed]({CHART_FILE})",
        ]
        parts += [f"![{study.title}: curves]({CURVES_FILE})"] if curves.of_rows(study, table) else []
        parts += ["## IoU by class", table_of(["", *(row.name for row in table)], by_class)]
    else:
        parts.append("No run is finished.")
    seeds = [[row.name, *(_single(row.by_seed.get(seed)) for seed in study.seeds)] for row in table]
    parts += ["## mIoU by seed", table_of(["", *map(str, study.seeds)], seeds)] if table else []
    parts += [notes.strip()] if notes else []
    if missing := [run for run in runs if not is_finished(run)]:
        parts += ["## Not finished", "\n".join(f"* {run.name}: `{run.workdir / OUTPUT_FILE}`" for run in missing)]
    parts += ["## Commands", "\n".join(f"    {shown(run.command)}" for run in runs)]
    kept = [found["versions"] for run in runs if is_finished(run) and (found := noted(run))]
    if kept:
        names = dict.fromkeys(name for each in kept for name in each)
        lines = [f"* {n}: {', '.join(dict.fromkeys(each[n] for each in kept if n in each))}" for n in names]
        parts += ["## Versions", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def table_of(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Markdown with aligned columns; the first one is text."""
    header, *rows = (list(map(_escaped, row)) for row in (header, *body))
    widths = [max(3, *(len(row[i]) for row in (header, *rows))) for i in range(len(header))]
    rule = ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    lines = [_line(header, widths), _line(rule, widths)]
    return "\n".join([*lines, *(_line(row, widths) for row in rows)])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
    return f"| {' | '.join(aligned)} |"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("<", "\\<")  # a class that is called <unk> is no HTML


def _percent(spread: Spread, sign: bool = False) -> str:
    if spread.mean is None:
        return "–"
    mean = f"{round(100 * spread.mean, 1) + 0.0:{'+' if sign else ''}.1f}".replace("-", "−")  # + 0.0: never −0.0
    return mean if spread.deviation is None else f"{mean} ± {100 * spread.deviation:.1f}"


def _single(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _number(spread: Spread, unit: float = 1, digits: int = 0) -> str:
    return "–" if not spread.mean else f"{spread.mean / unit:,.{digits}f}"
