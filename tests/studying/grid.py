"""A small study, and a stand-in for the processes that train: what a run leaves behind, made up."""

import json
import types

from csst_jax.studying import arms
from csst_jax.studying.arms import Arm, Study

CLASSES = ("road", "pole")


def configuration():
    """As `load` of `arms.runs`: alone, and with what the command line overrides."""
    from configs import base

    plain = base.get_config()
    overridden = base.get_config()
    overridden.data.dir = "data"
    return plain, overridden


def study(**fields):
    """Masks alone, a student, and a method of one stage."""
    given = (
        Arm("alone", {"stages": "teacher,evaluate"}),
        Arm("student"),
        Arm("one stage", {"stages": "student,evaluate", "student.method.name": "mean_teacher"}),
    )
    return Study(
        **({"title": "A study", "config": "base", "arms": given, "seeds": (0, 1), "reference": "alone"} | fields)
    )


def runs(directory, own=None):
    """Of the study, in a directory."""
    return arms.runs(own or study(), directory, lambda _: configuration())


def leave(run, miou, networks=("teacher",)):
    """What a finished run leaves."""
    stages = {"teacher": "teacher", "label": "pseudo_labels", "student": "student"}
    results = {"wall_s": {"evaluate": 4.0}, "compilations": {}}
    for stage, directory in stages.items():
        if stage not in run.stages:
            continue
        (run.workdir / directory).mkdir(parents=True, exist_ok=True)
        (run.workdir / directory / "DONE").touch()
        results["wall_s"][directory] = 60.0
        if directory == "pseudo_labels":
            results["pseudo_labels"] = {}
            (run.workdir / directory / "labels-0").write_bytes(bytes(2**20))
        else:
            iou = {"road": miou + 0.1, "pole": miou - 0.1}
            results[directory] = {"miou": miou, "iou": iou, "steps": 500}
            results["compilations"][directory] = {"phases": [{"memory_bytes": 2**22}, {"memory_bytes": 2**23}]}
    (run.workdir / "results.json").write_text(json.dumps(results))


class Made:
    """Starts runs that end at once; `scores` gives the mIoU of each, and None lets it fail."""

    def __init__(self, scores):
        self.scores, self.started = scores, []

    def __call__(self, run):
        self.started.append(run.name)
        score = self.scores(run)
        if score is None:
            (run.workdir / "output.txt").write_text("some line\nerror: the disk is full.\nbye\n")
            return types.SimpleNamespace(poll=lambda: 2, pid=0)
        leave(run, score)
        return types.SimpleNamespace(poll=lambda: 0, pid=0)
