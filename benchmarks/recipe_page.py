"""docs/results/recipe.md: what `benchmarks.recipe` measured, as curves over steps and by class."""

from __future__ import annotations

import json
import pathlib
import statistics
from typing import TYPE_CHECKING, Any

from benchmarks import recipe_tasks, whole_file
from benchmarks.recipe_gains import COMPARED, EARLIER, NONE, RECIPE, RUNNING, TITLES, Log, gains, order, summary, table
from csst_jax.studying import curves as drawing
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

DRAWN = ("baseline", RECIPE, "student_lower", "student_equal", "student_onward", "oracle")
"""Columns of the chart."""
CHART = "recipe.svg"
DEMO = "surest half of each class, losses with weight 1"
"""What `configs/demo.py` does, as logs of trials name it; another seed is named behind it."""
_EARLIER = (
    "The demo has an earlier form of the recipe: 4 real and 4 pseudo-labelled crops, own thresholds, and running "
    "averages of batch normalisation."
)
_FORMS = (
    "*Own thresholds* is the recipe as it was before: a pixel needs the threshold of its own class. It has 4 real and "
    "4 pseudo-labelled crops per step; with *16 crops*, 8 and 8. A *fine-tuned teacher* starts from its teacher's "
    "weights."
)
_ABOUT = (
    "This page compares students of the [recipe for few masks](../methods.md#real-and-pseudo-labels-in-fixed-shares) "
    "with *masks alone*: the same network, trained on the masks for as many steps. A row of the tables is a task on "
    "CamVid. Behind the letter of A and C stands the number of masks, and behind B the drive without masks.",
    "",
    "| task | masks | evaluated on |",
    "| --- | --- | --- |",
    "| A | 46 | CamVid's val, which continues the drive that most masks come from |",
    "| B | 46 from two drives | the second half of the third drive |",
    "| C | 23 or 12 | val |",
)
_OF_THE_DEMO = {"teacher": "masks alone", "student": "student"}


def write(logs: pathlib.Path) -> pathlib.Path:
    """Writes the page beside the directory of logs; notes that people wrote are in `recipe-notes.txt` there.

    Raises:
      CsstError: there is no log.
    """
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(logs.glob("recipe-*-*.json"))]
    if not found:
        raise CsstError(f"{logs} has no recipe-TASK-STEPS-SEED.json; `python -m benchmarks.recipe run` writes them.")
    found = with_shared_oracles(found)
    notes = logs / "recipe-notes.txt"
    trials = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(logs.glob("recipe_tried-*.json"))]
    charts = by_steps(found)
    text = page(found, trials, notes.read_text(encoding="utf-8") if notes.exists() else "", bool(charts))
    if charts:
        whole_file.write(logs.parent / CHART, drawing.drawn(charts, "steps of 8 crops", "mIoU in percent"))
    whole_file.write(out := logs.parent / "recipe.md", text)
    return out


def with_shared_oracles(logs: Sequence[Log]) -> list[Log]:
    """The logs, each with the oracle of another task that has the same data, steps, seed and crops.

    Tasks on one data set differ in the masks alone, and the oracle has all of them: it is one run.
    """

    def of(log: Log) -> tuple[Any, ...]:
        same = (log[key] for key in ("steps", "seed", "crop_px"))
        return (recipe_tasks.TASKS[log["task"]].data, *same, log.get("precise_bn_steps", 0))

    oracles = {of(log): {"oracle": log["oracle"]} for log in logs if "oracle" in log}
    return [oracles.get(of(log), {}) | log for log in logs]


def by_steps(logs: Sequence[Log]) -> dict[str, drawing.Curves]:
    """Charts of the tasks that have masks alone with several numbers of steps: by task, column and steps, the mIoU."""
    charts: dict[str, drawing.Curves] = {}
    usual = min(log["crop_px"] for log in logs)
    for log in sorted(logs, key=lambda log: log["steps"]):
        for arm in (arm for arm in DRAWN if arm in log):
            curve = charts.setdefault(_name(log, usual), {}).setdefault(TITLES[arm], {})
            curve.setdefault(f"{log['steps']:,}", []).append(100 * log[arm]["miou"])
    return {name: curves for name, curves in charts.items() if len(curves.get(TITLES["baseline"], ())) > 1}


def page(logs: Sequence[Log], trials: Sequence[Log], notes: str, chart: bool) -> str:
    """The page's Markdown.

    Args:
      logs: of the arms.
      trials: of other settings.
      notes: what came out, which stands below the first table; from its first heading on, the end of the page.
      chart: whether there is one beside it.
    """
    usual = min(log["crop_px"] for log in logs)
    logs = [log | {"task": _name(log, usual)} for log in logs]
    came_out, _, more = notes.partition("\n## ")
    lines = [
        "# When do pseudo labels pay?",
        "",
        "Written by `python -m benchmarks.recipe page` from `logs/recipe-TASK-STEPS-SEED.json`; do not edit. "
        "`python -m benchmarks.recipe run` writes the logs.",
        "",
        *_ABOUT,
        "",
        *summary(logs),
        "",
        "* Scores are mIoU in percent of the last weights, in the mean over the seeds. Networks start from ImageNet "
        "weights. A student's teacher is the network of *masks alone*.",
        f"* All networks of a row take the same number of steps. Crops are {usual} x {usual} pixels, where the task "
        "names no other size. A step of masks alone has 8.",
        "* A step of the *recipe* has 8 real crops as well, and 8 with pseudo labels, as in `configs/folder.py` and "
        "`configs/camvid.py`. Both losses have weight 1. A pixel keeps its label if it reaches the lower threshold of "
        "its two most probable classes (`label.lower_of_two`).",
        "* After the last step, the statistics of batch normalisation are measured (`precise_bn_steps`), where the "
        "task does not name running averages.",
        "",
        *came_out.splitlines(),
        "",
        "## Controls",
        "",
        "*Masks alone with 16 crops* takes as long as the recipe. *All masks* has the masks of the pool as well, and 8 "
        "crops per step. Gains are means over the seeds; brackets say over how many.",
        *gains(logs, COMPARED),
    ]
    if chart:
        lines += ["", f"![mIoU of masks alone, of students and of all masks, by steps]({CHART})"]
    for task in sorted({log["task"] for log in logs}, key=order):
        own = [log for log in logs if log["task"] == task]
        lines += ["", f"## Task {task}", "", *curves(own)]
        if not task.endswith(RUNNING):
            lines += ["", *by_class(own)]
    if earlier := gains(logs, EARLIER):
        lines += ["", "## Earlier forms of the recipe", "", _FORMS, *earlier]
    if seeds := seeds_of_the_demo(trials):
        lines += ["", "## The demo, by seed", "", _EARLIER, "", *seeds]
    if trials:
        lines += ["", "## What was tried", "", *tried(trials)]
    if more:
        lines += ["", *f"## {more}".splitlines()]
    return "\n".join(lines).rstrip() + "\n"


def _name(log: Log, usual_px: int) -> str:
    """The task, and what is unlike in most logs."""
    crops = "" if log["crop_px"] == usual_px else f", {log['crop_px']} px"
    return log["task"] + crops + ("" if log.get("precise_bn_steps") else RUNNING)


def curves(logs: Sequence[Log]) -> list[str]:
    """Scores by steps and seed; where the recipe has several seeds, their mean as well."""
    arms = [arm for arm in TITLES if any(arm in log for log in logs)]
    rows = []
    for steps in sorted({log["steps"] for log in logs}):
        own = sorted((log for log in logs if log["steps"] == steps), key=lambda log: log["seed"])
        pairs = [log for log in own if {RECIPE, "baseline"} <= log.keys()]
        shown = [[log] for log in own] + ([pairs] if len(pairs) > 1 else [])
        for group in shown:
            seeds = ", ".join(str(log["seed"]) for log in group)
            rows.append([f"{steps:,}", f"mean of {seeds}" if len(group) > 1 else seeds, *_scores(group, arms)])
    return table(["steps", "seed", *(TITLES[arm] for arm in arms)], rows)


def _scores(logs: Sequence[Log], arms: Sequence[str]) -> list[str]:
    """Mean mIoU of each arm in percent, where all logs have it."""
    return [
        f"{100 * statistics.fmean(log[arm]['miou'] for log in logs):.1f}" if all(arm in log for log in logs) else NONE
        for arm in arms
    ]


def by_class(logs: Sequence[Log]) -> list[str]:
    """Mean IoU by class: of the recipe with the most steps, or of what there is in its place, and of its controls."""
    arm = next(arm for arm in (RECIPE, "student_lower", "student_equal", "baseline") if any(arm in log for log in logs))
    steps = max(log["steps"] for log in logs if arm in log)
    shown = sorted((log for log in logs if arm in log and log["steps"] == steps), key=lambda log: log["seed"])
    arms = [arm for arm in TITLES if all(arm in log for log in shown)]
    rows = _classes([(TITLES[arm], [log[arm] for log in shown]) for arm in arms])
    seeds = ", ".join(str(log["seed"]) for log in shown)
    title = f"IoU by class at {steps:,} steps, " + (f"mean of seeds {seeds}." if len(shown) > 1 else f"seed {seeds}.")
    return [title, "", *rows]


def _classes(rows: Sequence[tuple[str, Sequence[Log]]]) -> list[str]:
    """A table of mean IoU by class; each row has a title and the scores of its runs."""
    classes = list(rows[0][1][0]["iou"])
    means = [
        [title, *(f"{100 * statistics.fmean(run['iou'][c] or 0.0 for run in runs):.1f}" for c in classes)]
        for title, runs in rows
    ]
    return table(["", *classes], means)


def seeds_of_the_demo(trials: Sequence[Log]) -> list[str]:
    """What `configs/demo.py` has, with several seeds, their mean, and the classes; empty with one seed."""
    named = {log["what"].removeprefix(DEMO).removeprefix(", seed ") or "0": log for log in trials if _is_demo(log)}
    if len(named) < 2:
        return []
    pairs = {seed: tuple(100 * log[arm]["miou"] for arm in _OF_THE_DEMO) for seed, log in named.items()}
    pairs = dict(sorted(pairs.items(), key=lambda pair: int(pair[0])))
    means = tuple(statistics.fmean(scores) for scores in zip(*pairs.values(), strict=True))
    spread = statistics.stdev(student - alone for alone, student in pairs.values())
    rows = [
        [seed, f"{alone:.1f}", f"{student:.1f}", f"{student - alone:+.1f}"]
        for seed, (alone, student) in [*pairs.items(), ("mean", means)]
    ]
    rows[-1][-1] += f" ± {spread:.1f}"
    by_class = [(title, [log[arm] for log in named.values()]) for arm, title in _OF_THE_DEMO.items()]
    return [
        *table(["seed", "masks alone", "student", "gain"], rows),
        "",
        "Mean IoU by class.",
        "",
        *_classes(by_class),
    ]


def _is_demo(log: Log) -> bool:
    return log["task"] == "demo" and log["what"].partition(", seed ")[0] == DEMO


def tried(trials: Sequence[Log]) -> list[str]:
    """Single runs of other settings, each with the network that labelled for it, and the classes that moved most."""
    rows = []
    for log in sorted(trials, key=lambda log: (log["task"], log["student"]["miou"])):
        gains = {
            name: 100 * ((iou or 0) - (log["teacher"]["iou"][name] or 0)) for name, iou in log["student"]["iou"].items()
        }
        worst, best = min(gains, key=gains.__getitem__), max(gains, key=gains.__getitem__)
        scores = [f"{100 * log[arm]['miou']:.1f}" for arm in ("teacher", "student")]
        moved = [f"{name} {gains[name]:+.1f}" for name in (worst, best)]
        steps = f"{log['student']['steps']:,}"
        rows.append([log["task"], log["what"], steps, *scores, *moved])
    return table(["task", "what was changed", "steps", "masks alone", "student", "lost most", "gained most"], rows)
