"""The table that a run ends with: teacher, student and, if there is one, the baseline."""

from __future__ import annotations

from collections.abc import Mapping

_MODELS = ("teacher", "baseline", "student")
_ABSENT = "-"


def format_table(results: Mapping) -> str:
    """Terminal table of IoU in percent, a row for each class and one for their mean.

    Args:
      results: the content of results.json; of "teacher", "baseline" and "student" those that are there are shown, each
        {"miou": float, "iou": {class: float, or None if the ground truth does not show the class}}. Differences of the
        student to the others are in percentage points.

    Returns:
      Lines without a trailing newline; "-" where there is no value.
    """
    models = [name for name in _MODELS if results.get(name)]
    others = [name for name in models if name != "student"] if "student" in models else []
    classes = list(dict.fromkeys(c for name in models for c in results[name]["iou"]))
    header = ["IoU %", *models, *(f"student-{name}" for name in others)]
    body = [_row(c, {m: results[m]["iou"].get(c) for m in models}, others) for c in classes]
    mean = _row("mIoU", {m: results[m]["miou"] for m in models}, others)
    widths = [max(len(row[i]) for row in (header, mean, *body)) for i in range(len(header))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [_line(header, widths), rule, *(_line(row, widths) for row in body), rule, _line(mean, widths)]
    return "\n".join(lines)


def _row(name: str, values: Mapping[str, float | None], others: list[str]) -> list[str]:
    shown = [_ABSENT if v is None else f"{100 * v:.1f}" for v in values.values()]
    for other in others:
        ours, theirs = values["student"], values[other]
        shown.append(_ABSENT if ours is None or theirs is None else f"{100 * (ours - theirs):+.1f}")
    return [name, *shown]


def _line(cells: list[str], widths: list[int]) -> str:
    first, *rest = [
        cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join([first, *rest])
