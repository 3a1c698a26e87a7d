"""Every data set from its download to the server's door: prepared, checked, trained on, scored, submitted, verified.

By the programs' own entry points, with the configuration and the paths of docs/datasets.md.
"""

import dataclasses
import importlib
import json
import logging
import pathlib
import runpy
import shutil
import signal
import sys
from collections.abc import Callable

import numpy as np
import pytest
from absl import flags
from PIL import Image

from csst_jax import check_submission, command_line
from csst_jax.models import zoo
from data_prep import check
from tests.data_prep import replicas
from tests.evaluation.official_scores import official_scores

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

TRAINING = {"schedule.kind": "constant", "epochs": 2, "samples_per_epoch": 8, "batch_size": 8, "crop_px": 16}
SMALL = [
    *(f"--config.{stage}.{key}={value}" for stage in ("teacher", "student") for key, value in TRAINING.items()),
    *(f"--config.{stage}.augment.{key}=0" for stage in ("teacher", "student") for key in ("jitter", "blur")),
    *(f"--config.{stage}.pad_px=32" for stage in ("label", "evaluate")),
    "--config.student.sampler.pseudo_min_area_px=1",
    "--config.label.confidence_threshold=0",  # two steps do not make a teacher sure of anything
    "--config.evaluate.batch_size=8",
    "--config.evaluate.num_pictures=2",
    "--config.compilation_cache_dir=",  # the tests' own is set in the environment
]
# All training images of these data sets have masks; one of them keeps it.
ONE_LABELLED = ("--config.data.labelled_ids=labelled.txt",)
NO_POOL = "--config.data.more_unlabelled="


@dataclasses.dataclass(frozen=True)
class Case:
    """data_prep.`command` with `flags` prepares what `write` wrote; a run with `config` and `settings` finds so much.

    `server` takes predictions of the test images.
    """

    command: str
    config: str
    write: Callable[[pathlib.Path], dict]
    num_classes: int
    server: str | None = None
    labelled: int = 1
    unlabelled: int = 1
    flags: tuple[str, ...] = ("--source_dir=raw",)
    settings: tuple[str, ...] = ONE_LABELLED


def voc2012(root):
    expected = replicas.voc2012(root, sbd=root / "sbd")
    further = {image_id: None for image_id in expected["train"] if image_id.startswith("2008")}
    return expected | {"train": expected["train"] | further}


FOLDER = ("--images=raw/images", "--masks=raw/masks", "--val_list=raw/val.txt", "--classes=road,car,sky", "--name=mine")
CASES = [
    Case("cityscapes", "cityscapes", replicas.cityscapes, 19, "cityscapes", 2, 2, settings=()),
    Case("voc2012", "voc2012", voc2012, 21, "voc_comp6", 2, 2, ("--source_dir=raw", "--sbd_dir=raw/sbd"), ()),
    Case("camvid", "camvid", replicas.camvid_segnet, 11),
    Case("camvid", "camvid_full", replicas.camvid_original, 11, None, 1, 2, settings=(*ONE_LABELLED, NO_POOL)),
    Case("bdd100k", "bdd100k", replicas.bdd100k, 19, "bdd100k"),
    Case("mapillary", "mapillary", replicas.mapillary, 5, "mapillary"),
    Case("ade20k", "ade20k", replicas.ade20k, 150),
    Case("folder", "folder", replicas.folder, 3, None, 3, 3, FOLDER, ("--config.data.dir=data",)),
]


@pytest.fixture
def run(monkeypatch):
    """`python -m csst_jax.NAME …` in this process, whose flags, log and signals are as before afterwards."""
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    root, handlers = logging.getLogger(), logging.getLogger().handlers[:]
    on_signal = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def program(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        # Another test may have imported a program of ours, whose flags have the same names.
        defined = flags.FLAGS.flags_by_module_dict()
        ours = {flag.name for module in defined if module.startswith("csst_jax.") for flag in defined[module]}
        others = {
            key: (flags.FLAGS[key], flags.FLAGS.find_module_defining_flag(key))
            for key in flags.FLAGS
            if key in ours or key.startswith("config.")
        }
        flags.FLAGS.remove_flag_values(others)
        before = set(flags.FLAGS)
        try:
            # By its path: by its name, jaxtyping's hook leaves bytecode with its checks where every process reads it.
            main = runpy.run_path(str(ROOT / f"csst_jax/{name}.py"), run_name=name)["main"]
            rest = command_line.parse_flags(sys.argv)
            own = set(flags.FLAGS) - before  # libraries that `main` imports define some, too
            try:
                return main(rest)
            finally:
                flags.FLAGS.remove_flag_values(own)
        finally:
            for key, (flag, module) in others.items():
                flags.FLAGS[key] = flag
                if module is not None:
                    flags.FLAGS.register_flag_by_module(module, flag)

    yield program
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers = handlers
    signal.set_wakeup_fd(-1)
    for number, handler in on_signal.items():
        signal.signal(number, handler)


def prepare(case):
    """The data set, prepared and sound; returns the labels of each split that the replica wrote."""
    expected = case.write(pathlib.Path("raw"))
    module = importlib.import_module(f"data_prep.{case.command}")
    module.main([*case.flags, "--data_dir=data", "--num_workers=1"])
    labelled = [image_id for image_id, label in expected["train"].items() if label is not None]
    pathlib.Path("labelled.txt").write_text(f"{labelled[0]}\n")
    return expected


def checked(capsys):
    """What the doctor says of the data set."""
    capsys.readouterr()
    assert check.main(["--data_dir=data", "--num_workers=1", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def predictions(folder, labels):
    """(label, prediction) of the images with masks."""
    return [(label, np.asarray(Image.open(folder / f"{image_id}.png"))) for image_id, label in labels.items()]


@pytest.mark.essential("each data set, from the download to the submission")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.config)
def test_from_the_download_to_the_submission(case, tmp_path, monkeypatch, run, capsys):
    monkeypatch.chdir(tmp_path)
    expected = prepare(case)
    report = checked(capsys)
    assert {split: found["images"] for split, found in report["splits"].items()} == {
        split: len(labels) for split, labels in expected.items()
    }
    assert all(len(found["classes"]) == case.num_classes for found in report["splits"].values())
    assert all(found["images"] for found in report["splits"]["val"]["classes"].values()), "val must show every class"

    settings = [f"--config={ROOT}/configs/{case.config}.py:net=toy", *case.settings, *SMALL]
    assert run("main", "--workdir=run", *settings) == 0
    results = json.loads(pathlib.Path("run/results.json").read_text())
    val = expected["val"]
    counts = {"labelled": case.labelled, "unlabelled": case.unlabelled, "validation": len(val)}
    assert results["data"] == {"name": report["name"], **counts}
    assert results["pseudo_labels"]["images"] == case.unlabelled
    assert all(results[stage]["steps"] == 2 for stage in ("teacher", "student"))

    assert run("evaluate", "--checkpoint=run/teacher,run/student", "--predictions", *settings) == 0
    scores = json.loads(pathlib.Path("run/scores/scores.json").read_text())
    assert (scores["split"], scores["images"], list(scores["networks"])) == ("val", len(val), ["teacher", "student"])
    for stage, found in scores["networks"].items():
        assert found["miou"] == results[stage]["miou"] and len(found["iou"]) == case.num_classes
        pairs = predictions(pathlib.Path("run/scores/predictions") / stage, val)
        assert all(guess.shape == label.shape and guess.max() < case.num_classes for label, guess in pairs)
        if case.num_classes <= 19:  # cityscapesscripts has no more
            official = official_scores(pairs, case.num_classes)
            assert (list(results[stage]["iou"].values()), results[stage]["miou"]) == official

    if case.server:
        submit(case, settings, run, capsys)


def submit(case, settings, run, capsys):
    """The test split's submission is accepted, and refused with one pixel of no class."""
    test = ["--config.data.val_split=test", "--checkpoint=run/student", "--output=run/test"]
    assert run("evaluate", *settings, *test, f"--submission={case.server}") == 0
    (archive,) = pathlib.Path("run/test").glob("submission_*.*")
    flags = [f"--format={case.server}", "--data_dir=data"]
    assert check_submission.main([str(archive), *flags]) == 0
    assert f"{archive}: 1 images, fit for {case.server}" in capsys.readouterr().out

    (png,) = pathlib.Path("run/test/submission").rglob("*.png")
    with Image.open(png) as image:
        image.putpixel((0, 0), 255)
        image.save(png)
    broken = shutil.make_archive("broken", "zip" if archive.suffix == ".zip" else "gztar", "run/test/submission")
    assert check_submission.main([broken, *flags]) == 2
    assert "numbers of no class" in (told := capsys.readouterr().err) and f"{png.name} (255)" in told
