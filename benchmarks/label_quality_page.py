"""The page and the chart that `benchmarks.label_quality` writes from its logs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import calibration, whole_file
from csst_jax.studying import curves
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Mapping, Sequence

_CHART = "label_quality.svg"
_SHOWN = ("all pixels", "probability ≥ 0.9", "surest 50 % of each class")
_PERFECT = "accuracy equals confidence"
_HEAD = [
    "# Which pseudo labels are right?",
    "",
    "Written by `python -m benchmarks.label_quality page` from `logs/label_quality-NAME.json`; do not edit.",
    "",
    "This page compares a teacher's predictions for a pool with the pool's masks, which no network has seen. Each rule "
    "makes some pixels void. *Kept* is the share of pixels that keep a label, *right* the share of these that is "
    "right. For each class the table shows how many of its pixels in the masks keep a right label, and how many a "
    "wrong one, in percent. A student may forget a class whose pixels have more wrong labels than right ones. *Surest* "
    "pixels are those with the highest confidence.",
    "",
    "Teachers and pools are those of [when do pseudo labels pay](recipe.md), 1,500 steps. A teacher has seed 0, or the "
    "seed that its heading names. For *seed-2*, every second image of the pool was predicted.",
    "",
    "| heading | masks | pool |",
    "| --- | --- | --- |",
    "| A-46 | 46 | CamVid's other training images |",
    "| B-DRIVE | 46 from two drives | the other images of these drives, and the first half of the named drive |",
    "| C-23 | 23 | CamVid's other training images |",
]
_CALIBRATION = (
    "Calibration has a row for each way of averaging probabilities. *Error* is the expected calibration error: how far "
    "a pixel's confidence is from the accuracy of such pixels on average, in points. *Confidence minus accuracy* is "
    "above 0 where the teacher is overconfident. Errors of classes are of the pixels that are labelled so. Precision "
    "is the share of these pixels that is right, in percent."
)


def write(logs: pathlib.Path) -> pathlib.Path:
    """Writes label_quality.md and, where a log has calibration, its chart beside the directory of the logs.

    Raises:
      CsstError: there is no log.
    """
    paths = sorted(logs.glob("label_quality-*.json"))
    if not paths:
        raise CsstError(f"{logs} has no label_quality-NAME.json; `python -m benchmarks.label_quality run` writes them.")
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    charts = {log["name"]: _curves(log) for log in found if "views" in log}
    lines = list(_HEAD)
    if charts:
        lines += ["", _CALIBRATION]
        lines += ["", f"![Right pixels by probability]({_CHART})"]
        whole_file.write(
            logs.parent / _CHART, curves.drawn(charts, "probability, middle of a tenth, %", "right, %", 100)
        )
    for log in found:
        rows = [[name, *_cells(np.array(table))] for name, table in log["rules"].items()]
        lines += ["", f"## {log['name']}", "", f"{log['masks']} masks, {log['pool']} images in the pool.", ""]
        lines += _table(["rule", "kept", "right", *log["classes"]], rows)
        lines += _views(log) if "views" in log else []
    if (notes := logs / "label_quality-notes.txt").exists():
        lines += ["", "## What follows", "", notes.read_text(encoding="utf-8").strip()]
    page = logs.parent / "label_quality.md"
    whole_file.write(page, "\n".join(lines) + "\n")
    return page


def _views(log: Mapping[str, Any]) -> list[str]:
    """Calibration and precision of each view."""
    errors, precision = [], []
    for view, seen in log["views"].items():
        found = np.array(seen["calibration"])
        whole = found.sum(1)
        by_class = [calibration.expected_error(found[:, k]) for k in range(found.shape[1])]
        values = [calibration.expected_error(whole), calibration.overconfidence(whole), *by_class]
        errors.append([view, *("–" if value is None else f"{100 * value:.1f}" for value in values)])
        for rule in _SHOWN:
            pairs = zip(seen["right"][rule], seen["labels"][rule], strict=False)  # void is last, and has no right ones
            shares = [f"{100 * right / labels:.0f}" if labels else "–" for right, labels in pairs]
            precision.append([f"{view}: {rule}", *shares])
    lines = ["", "Calibration.", "", *_table(["", "error", "confidence minus accuracy", *log["classes"]], errors)]
    return [*lines, "", "Precision.", "", *_table(["", *log["classes"]], precision)]


def _curves(log: Mapping[str, Any]) -> dict[str, dict[str, list[float]]]:
    """The share of right pixels by probability, of all classes together."""
    found: dict[str, dict[str, list[float]]] = {}
    for view, seen in log["views"].items():
        pixels, sure, right = np.array(seen["calibration"]).sum(1)
        bins = [f"{100 * (k + 0.5) / calibration.BINS:g}" for k in range(calibration.BINS)]
        there = [k for k in range(calibration.BINS) if pixels[k]]
        found[view] = {bins[k]: [100 * right[k] / pixels[k]] for k in there}
        found.setdefault(_PERFECT, {bins[k]: [100 * sure[k] / pixels[k]] for k in there})
    return found


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (header, ["---", *["--:"] * (len(header) - 1)], *body)]


def _cells(found: np.ndarray) -> list[str]:
    labels, total = found[:, :-1], np.maximum(found.sum(1), 1)
    right = np.diag(labels)
    shares = [
        f"{100 * r / t:.0f} / {100 * w / t:.0f}" for r, w, t in zip(right, labels.sum(1) - right, total, strict=True)
    ]
    return [f"{100 * labels.sum() / found.sum():.0f}", f"{100 * right.sum() / max(labels.sum(), 1):.1f}", *shares]
