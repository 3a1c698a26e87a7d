"""Tables of scores for the terminal."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

_MODELS = ("teacher", "baseline", "student")
_ABSENT = "-"
_LINE, _HEADING = 118, 8  # characters


def format_table(results: Mapping) -> str:
    """Terminal table of IoU in percent, a row for each class and one for their mean.

    Args:
      results: the content of results.json; of "teacher", "baseline" and "student" those that are there are shown, each
        {"miou": float, "iou": {class: float, or None if the ground truth does not show the class}}. Differences of the
        student to the others are in percentage points.

    Returns:
      Lines without a trailing newline; "-" where there is no value, and for the difference of means that do not compare
      (see `in_one_mean`).
    """
    models = [name for name in _MODELS if results.get(name)]
    others = [name for name in models if name != "student"] if "student" in models else []
    classes = list(dict.fromkeys(c for name in models for c in results[name]["iou"]))
    header = ["IoU %", *models, *(f"student-{name}" for name in others)]
    body = [_row(c, {m: results[m]["iou"].get(c) for m in models}, others) for c in classes]
    mean = _row("mIoU", {m: results[m]["miou"] for m in models}, others)
    notes = []
    for position, name in enumerate(others, 1 + len(models)):
        if uneven := in_one_mean(results["student"]["iou"], results[name]["iou"]):
            mean[position] = _ABSENT
            notes.append(
                f"The mIoU of student and {name} are of different classes: no mask shows {', '.join(uneven)}, and one "
                "of the two predicts it."
            )
    widths = [max(len(row[i]) for row in (header, mean, *body)) for i in range(len(header))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [_line(header, widths), rule, *(_line(row, widths) for row in body), rule, _line(mean, widths)]
    return "\n".join([*lines, *notes])


def in_one_mean(iou: Mapping[str, float | None], other: Mapping[str, float | None]) -> list[str]:
    """Classes that count in the mean of one of two networks alone, when both were scored by the same masks.

    No mask shows them. The network that predicts them has an IoU of 0, the other one none: their means do not compare.
    """
    return [name for name in iou if name in other and (iou[name] is None) != (other[name] is None)]


def format_by_method(results: Mapping[str, Mapping]) -> str:
    """Terminal table in the manner of the paper's Table 8: a row for each network, a column for each class, in percent.

    Args:
      results: by name of network what `Scores.result` gives.

    Returns:
      Lines without a trailing newline: IoU by class and its mean, boundary IoU the same way where it was counted, then
      pixel accuracy and frequency-weighted IoU. Classes that do not fit into a line go on below.
    """
    first = next(iter(results.values()))
    names = _headings(list(first["iou"]))
    blocks = [_block("IoU %", names, "mIoU", {n: (list(r["iou"].values()), r["miou"]) for n, r in results.items()})]
    if "boundary_iou" in first:
        values = {n: (list(r["boundary_iou"].values()), r["boundary_miou"]) for n, r in results.items()}
        blocks.append(_block("boundary IoU %", names, "mean", values))
    rest = {n: ([r["pixel_accuracy"]], r["frequency_weighted_iou"]) for n, r in results.items()}
    blocks.append(_block("all pixels %", ["accuracy"], "frequency-weighted IoU", rest))
    return "\n\n".join(blocks)


def _block(
    title: str, names: Sequence[str], mean_name: str, values: Mapping[str, tuple[Sequence[float | None], float]]
) -> str:
    lines: list[str] = []
    left = max(len(name) for name in (title, *values))
    rows = {name: [*of_classes, mean] for name, (of_classes, mean) in values.items()}
    columns = [*names, mean_name]
    while columns:
        widths = [max(len(name), 5) for name in columns]
        fit = sum(total <= _LINE - left for total in itertools.accumulate(width + 2 for width in widths))
        count = max(fit, 1)
        shown = {name: [_percent(v) for v in row[:count]] for name, row in rows.items()}
        lines += [
            _line([name, *cells], [left, *widths[:count]]) for name, cells in {title: columns[:count], **shown}.items()
        ]
        rows = {name: row[count:] for name, row in rows.items()}
        columns = columns[count:]
    return "\n".join(lines)


def _headings(classes: Sequence[str]) -> list[str]:
    """Short names, as in Table 8 ("traffic light" is "tlight"); the whole ones where short ones are not unique."""

    def short(name: str) -> str:
        *first, last = name.split()
        heading = "".join(word[0] for word in first) + last
        return heading if len(heading) <= _HEADING else f"{heading[: _HEADING - 1]}."

    shortened = [short(name) for name in classes]
    return shortened if len(set(shortened)) == len(shortened) else list(classes)


def _row(name: str, values: Mapping[str, float | None], others: list[str]) -> list[str]:
    shown = [_percent(v) for v in values.values()]
    for other in others:
        ours, theirs = values["student"], values[other]
        shown.append(_ABSENT if ours is None or theirs is None else f"{100 * (ours - theirs):+.1f}")
    return [name, *shown]


def _percent(value: float | None) -> str:
    return _ABSENT if value is None else f"{100 * value:.1f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = [
        cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join([first, *rest])
