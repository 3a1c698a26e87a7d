"""Tables of `benchmarks.recipe_page` that compare arms: what the recipe gains, and what its controls do."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks import recipe_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

RECIPE = "student_lower_16"
TITLES = {
    "baseline": "masks alone",
    "baseline_twice": "masks alone with 16 crops",
    "strong_masks": "masks alone with strong augmentation",
    "fixmatch": "FixMatch",
    "unimatch": "UniMatch",
    "csst": "CSST (paper)",
    "csst_uniform": "CSST with uniform crops",
    "student_half": "own thresholds, weights of ½",
    "student_equal": "own thresholds",
    "student_onward": "own thresholds, fine-tuned teacher",
    "student": "own thresholds, 16 crops",
    "student_lower": "recipe, 8 crops",
    RECIPE: "recipe",
    "oracle": "all masks",
}
"""Columns of the tables."""
COMPARED = (
    (RECIPE, "baseline", 2),
    (RECIPE, "baseline_twice", 1),
    ("student_lower", "baseline", 1),
    ("csst", "baseline", 1),
    ("csst", "csst_uniform", 1),
    ("fixmatch", "baseline", 1),
    ("unimatch", "baseline", 1),
    (RECIPE, "fixmatch", 1),
    (RECIPE, "unimatch", 1),
    ("strong_masks", "baseline", 1),
    ("oracle", "baseline", 1),
)
"""An arm, its control, and how many times as many steps the control takes."""
EARLIER = (
    ("student_equal", "baseline", 1),
    ("student_equal", "baseline", 2),
    ("student_onward", "baseline", 2),
    ("student", "baseline", 1),
    ("student", "baseline_twice", 1),
)
"""The same of forms of the recipe that were given up."""
NONE, RUNNING = "–", ", running averages"
_MEAN = "B, mean of the three"
Log = dict[str, Any]


def order(task: str) -> tuple[bool, str]:
    """Key to sort tasks by: those with running averages are last."""
    return task.endswith(RUNNING), task


def summary(logs: Sequence[Log]) -> list[str]:
    """The recipe against masks alone at equal steps: a row for each task and number of steps."""
    pairs: dict[tuple[str, int], list[Log]] = {}
    for log in sorted(logs, key=lambda log: log["seed"]):
        if {RECIPE, "baseline"} <= log.keys():
            pairs.setdefault((log["task"], log["steps"]), []).append(log)
    rows, by_drive = [], {}
    for (task, steps), own in sorted(pairs.items(), key=lambda pair: (*order(pair[0][0]), pair[0][1])):
        alone, recipe = ([100 * log[arm]["miou"] for log in own] for arm in ("baseline", RECIPE))
        by_seed = ", ".join(f"{student - other:+.1f}" for other, student in zip(alone, recipe, strict=True))
        means = statistics.fmean(alone), statistics.fmean(recipe)
        rows.append([task, f"{steps:,}", *_scores(means), by_seed, _largest_loss(own)])
        if _is_drive(task):
            by_drive.setdefault(steps, {})[task] = means
    for steps, found in by_drive.items():
        if len(found) == len(recipe_tasks.DRIVES):
            means = tuple(statistics.fmean(scores) for scores in zip(*found.values(), strict=True))
            rows.append([_MEAN, f"{steps:,}", *_scores(means), "", ""])
    rows.sort(key=lambda row: order(row[0]))
    header = ["task", "steps", "masks alone", "recipe", "gain", "gain by seed", "class that loses most"]
    return table(header, rows) if rows else []


def _scores(means: Sequence[float]) -> list[str]:
    alone, recipe = means
    return [f"{alone:.1f}", f"{recipe:.1f}", f"{recipe - alone:+.1f}"]


def _largest_loss(logs: Sequence[Log]) -> str:
    """The class that loses most in the mean over the seeds, with its loss; nothing if none loses."""
    changes = {
        name: statistics.fmean(_percent(log[RECIPE], name) - _percent(log["baseline"], name) for log in logs)
        for name in logs[0]["baseline"]["iou"]
    }
    name = min(changes, key=changes.__getitem__)
    return f"{name} {changes[name]:+.1f}" if round(changes[name], 1) < 0 else NONE


def _percent(scores: Log, name: str) -> float:
    return 100 * (scores["iou"][name] or 0.0)


def _is_drive(task: str) -> bool:
    return task in recipe_tasks.TASKS and bool(recipe_tasks.TASKS[task].judged)


def gains(logs: Sequence[Log], compared: Sequence[tuple[str, str, int]]) -> list[str]:
    """What arms gain on their controls: a table for each pair, with tasks as rows and steps as columns.

    Args:
      logs: of all tasks.
      compared: as `COMPARED`.
    """
    tasks = sorted({log["task"] for log in logs}, key=order)
    lines = []
    for arm, control, factor in compared:
        found = {
            task: _gains_by_steps([log for log in logs if log["task"] == task], arm, control, factor) for task in tasks
        }
        found = {task: row for task, row in found.items() if row}
        drives = [row for task, row in found.items() if _is_drive(task)]
        if len(drives) == len(recipe_tasks.DRIVES):
            all_have = set.intersection(*(set(row) for row in drives))
            means = {steps: [statistics.fmean(statistics.fmean(row[steps]) for row in drives)] for steps in all_have}
            found |= {_MEAN: means} if means else {}
            found = dict(sorted(found.items(), key=lambda row: order(row[0])))
        columns = sorted({steps for row in found.values() for steps in row})
        rows = [[task, *(_gain(row.get(steps, [])) for steps in columns)] for task, row in found.items()]
        if rows:
            header = ["task", *(f"{steps:,} steps" for steps in columns)]
            lines += ["", f"### {_title(arm, control, factor)}", "", *table(header, rows)]
    return lines


def _gains_by_steps(logs: Sequence[Log], arm: str, control: str, factor: int) -> dict[int, list[float]]:
    """By the arm's steps, what it gains on its control in points, one value for each seed that has both."""
    theirs = {(log["steps"], log["seed"]): log[control]["miou"] for log in logs if control in log}
    found: dict[int, list[float]] = {}
    for log in logs:
        if arm in log and (pair := (factor * log["steps"], log["seed"])) in theirs:
            found.setdefault(log["steps"], []).append(100 * (log[arm]["miou"] - theirs[pair]))
    return found


def _gain(pairs: Sequence[float]) -> str:
    return f"{statistics.fmean(pairs):+.1f}" + f" ({len(pairs)})" * (len(pairs) > 1) if pairs else NONE


def _title(arm: str, control: str, factor: int) -> str:
    title = TITLES[arm]
    return f"{title[0].upper()}{title[1:]} against {TITLES[control]}" + " for twice the steps" * (factor == 2)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    rule = ["---", *["--:"] * (len(header) - 1)]
    return ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]
