"""`python -m csst_jax.evaluate`: the run's own score again, on the files it writes too; pictures; submissions."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from csst_jax import build, check_submission, pipeline
from csst_jax.data.store import DataSet
from csst_jax.data.stored.encoded import decode_label
from csst_jax.models import nnx_io, zoo
from csst_jax.models.weights import files
from csst_jax.runtime import storage
from csst_jax.settings import resolve
from csst_jax.stages import conclude, scoring
from csst_jax.types import CsstError
from tests.evaluation.official_scores import official_scores
from tests.small_runs import finish, start_together
from tests.toy_network import train_toys

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def toy_in_the_zoo():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
        yield


def toy_config(tiny_config, tiny_data):
    c = train_toys(tiny_config(tiny_data))
    c.stages = "teacher,evaluate"
    return c


@pytest.fixture
def config(tiny_config, tiny_data):
    return toy_config(tiny_config, tiny_data)


def evaluated(config, *arguments, **more):
    parts = (resolve.evaluation(config), resolve.data(config), resolve.mesh(config))
    return scoring.score_networks(*parts, *arguments, **more)


@pytest.fixture(scope="module")
def teacher(tiny_config, tiny_data, tmp_path_factory):
    """A finished teacher's directory; read-only."""
    workdir = tmp_path_factory.mktemp("run")
    pipeline.run(resolve.run(toy_config(tiny_config, tiny_data)), workdir)
    return workdir / "teacher"


@pytest.fixture
def weights(teacher, tmp_path):
    """The teacher as a file."""
    shutil.copy(teacher / "model.safetensors", tmp_path / "ours.safetensors")
    return tmp_path / "ours.safetensors"


def test_what_scores_a_network_draws_its_pictures_too(config, teacher, weights, tmp_path, monkeypatch):
    """A second predictor would compile the same program again."""
    made = []
    predictor = build.predictor
    monkeypatch.setattr(build, "predictor", lambda *arguments, **more: made.append(0) or predictor(*arguments, **more))
    evaluated(config, [teacher, weights], tmp_path)
    assert len(made) == 2 and len(list(tmp_path.glob("failures_*.png"))) == 2
    assert (tmp_path / "comparison.png").exists()


def test_the_runs_own_score_and_cityscapesscripts_on_the_written_predictions(
    config, teacher, tiny_data, tmp_path, capsys
):
    found = evaluated(config, [teacher], tmp_path, predictions=True)["teacher"]
    results = json.loads((teacher.parent / "results.json").read_text())["teacher"]
    for key in conclude.SCORES:
        assert found[key] == results[key], key
    assert found["weights_sha256"] == results["weights_sha256"]
    val, folder = DataSet.open(tiny_data), tmp_path / "predictions" / "teacher"
    assert f"predictions {folder.parent}\n" in capsys.readouterr().out
    pairs = [
        (decode_label(val.reader("val").label_bytes(record)), np.asarray(Image.open(folder / f"{image_id}.png")))
        for record, image_id in enumerate(val.ids("val"))
    ]
    assert (list(results["iou"].values()), results["miou"]) == official_scores(pairs, 4)


def test_a_file_a_stage_and_a_workdir_are_the_same_network_and_have_their_place(config, teacher, weights, tmp_path):
    run = tmp_path / "run"
    for name in ("student", "teacher"):
        (run / name).mkdir(parents=True)
        shutil.copy(weights, run / name / "model.safetensors")
        shutil.copy(teacher / "stage.json", run / name)
    for checkpoint in (run, run / "student", run / "student" / "model.safetensors"):
        assert scoring.beside(checkpoint) == run / "scores"
    assert scoring.beside(weights) == tmp_path / "scores"
    (tmp_path / "downloads").mkdir()
    shutil.copy(weights, tmp_path / "downloads" / "model.safetensors")  # of no stage
    assert scoring.beside(tmp_path / "downloads") == tmp_path / "downloads" / "scores"
    names = list(evaluated(config, [run / "teacher" / "model.safetensors", run], tmp_path / "out"))
    assert names == ["teacher", "student"]
    assert files.describe(run).scores == files.describe(weights).scores, "the command changed the file"


def test_networks_of_one_name_have_as_much_of_their_paths_as_tells_them_apart():
    def names(*paths):
        return scoring._names([pathlib.Path(path) for path in paths])

    both = [f"/{run}/run/{stage}/model.safetensors" for run in "ab" for stage in ("teacher", "student")]
    assert names(*both[:2]) == ["teacher", "student"]
    assert names(*both[:3]) == ["a_run_teacher", "student", "b_run_teacher"]
    assert names("/run/x/ours.safetensors", "/x/ours.safetensors") == ["run_x_ours", "x_ours"]
    for paths in (("/x/ours.safetensors", "/x/ours/model.safetensors"), ("/b/x", "/c/x", "/b_x")):
        with pytest.raises(CsstError, match="told apart by their names, and these are .*; rename one"):
            names(*paths)


def test_what_does_not_fit_the_memory_is_told_with_the_key_of_evaluation(config, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr("csst_jax.evaluation.memory.room_bytes", lambda: 2**10)
    with pytest.raises(CsstError, match="predict it in windows, of evaluate.window_px=1024"):
        evaluated(config, [teacher], tmp_path)


@pytest.mark.slow
def test_files_table_and_settings(config, teacher, weights, tmp_path, capsys):
    config.evaluate.flip, config.evaluate.scales, config.evaluate.window_px = True, (0.5, 1.0), 64
    results = evaluated(config, [weights, teacher], tmp_path / "scores")
    assert results["ours"]["confusion"] == results["teacher"]["confusion"]
    plain = json.loads((teacher.parent / "results.json").read_text())["teacher"]
    assert results["teacher"]["miou"] != plain["miou"], "settings make no difference"
    written = {path.name for path in (tmp_path / "scores").iterdir()}
    assert written == {
        "scores.json", "comparison.png", "confusion_ours.png", "confusion_teacher.png", "failures_ours.png",
        "failures_teacher.png",
    }  # fmt: skip
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert scores["networks"] == results and scores["settings"]["window_px"] == 64 and scores["images"] == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["IoU", "%", "ground", "box", "post", "sign", "mIoU"]
    assert [line.split()[0] for line in lines[1:3]] == ["ours", "teacher"]
    five = 5 * (360 + 8) + 8
    with Image.open(tmp_path / "scores" / "comparison.png") as sheet:
        assert sheet.width == five, "image, mask, two predictions, difference"


def test_failures_are_captioned_with_image_and_class(config, teacher, tmp_path, monkeypatch):
    sheets = {}
    monkeypatch.setattr(
        "csst_jax.stages.evaluate.contact_sheet", lambda rows, path, **_: sheets.update({path.name: rows})
    )
    worst = evaluated(config, [teacher], tmp_path)["teacher"]["worst"]
    captions = {row[0][0].partition(": ")[0]: row[0][0] for row in sheets["failures_teacher.png"]}
    assert set(worst) == {"ground", "box", "post", "sign"}
    for klass, found in worst.items():
        assert f"{klass} IoU {100 * found['iou']:.0f} %" in captions[found["image"]]


def test_submission_is_written_and_checked(config, teacher, tiny_data, tmp_path, capsys):
    evaluated(config, [teacher], tmp_path, submission="mapillary")
    archive = tmp_path / "submission_mapillary.zip"
    arguments = [str(archive), f"--data_dir={tiny_data}", "--format=mapillary"]
    assert check_submission.main([*arguments, "--split=val"]) == 0
    assert f"{archive}: 3 images, fit for mapillary" in capsys.readouterr().out
    assert check_submission.main([*arguments, "--split=train"]) == 2
    assert "5 images without a prediction: image03" in capsys.readouterr().err
    assert check_submission.main(["none.zip", *arguments[1:], "--split=val"]) == 2
    assert "there is no file none.zip." in capsys.readouterr().err
    assert check_submission.main([str(archive), f"--data_dir={tiny_data}", "--format=kitti"]) == 2


def test_a_split_without_masks_can_be_predicted_but_not_scored(config, teacher, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(DataSet, "labelled_ids", lambda self, split: ())
    with pytest.raises(CsstError, match="split 'val' has no masks to score with; .* ask for --predictions or a --sub"):
        evaluated(config, [teacher], tmp_path)
    assert evaluated(config, [teacher], tmp_path, submission="mapillary") == {}
    assert {path.name for path in tmp_path.iterdir()} == {"submission", "submission_mapillary.zip"}
    assert len(list((tmp_path / "submission").iterdir())) == 3


def test_bad_input_is_refused_before_anything_is_predicted(config, teacher, weights, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("predicted")

    monkeypatch.setattr("csst_jax.stages.evaluate.Judge.score", refuse)
    arrays, description = files.read(weights)
    less = tmp_path / "less.safetensors"
    files.write(less, {k: v for k, v in arrays.items() if k != "stem.conv.kernel"}, description)
    other, two = tmp_path / "other.safetensors", tmp_path / "two.safetensors"
    files.write(other, arrays, dataclasses.replace(description, classes=("ground", "cube", "post", "sign")))
    network = nnx_io.create(zoo.builder("toy", 2), 0)
    arrays = {name: np.asarray(value) for name, value in (network.params | network.batch_stats).items()}
    files.write(two, arrays, dataclasses.replace(description, num_classes=2, classes=(), palette=()))
    for checkpoints, submission, message in (
        ([teacher, weights], "mapillary", "a submission is for one network, and there are 2 checkpoints"),
        ([teacher, teacher], None, "teacher/model.safetensors is given twice; give it once"),
        ([teacher], "kitti", "unknown submission format 'kitti'"),
        ([teacher], "cityscapes", "data set 'tiny' does not have the classes of 'cityscapes'"),
        ([teacher.parent], None, "has no finished student; it has: teacher. Give one of them"),
        ([teacher.parent / "pictures"], None, "pictures has no model.safetensors. Give a file of weights"),
        ([tmp_path / "none"], None, "there is no .*none"),
        ([other], None, "other.safetensors has 'cube' as class 1, and the data set has 'box'; give a data set"),
        ([two], None, "two.safetensors has 2 classes, and the data set has 4"),
        ([less], None, "less.safetensors does not fit 'toy'"),
    ):
        with pytest.raises(CsstError, match=message):
            evaluated(config, checkpoints, tmp_path / "out", submission=submission)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.essential("evaluate")
def test_the_command_line(config, teacher, tiny_data, tmp_path):
    program = f"""
import logging, runpy, sys
from csst_jax.models import zoo
from csst_jax.stages import scoring
zoo.NETWORKS["toy"] = zoo.Entry("tests.toy_network:build")
names = scoring._names
scoring._names = lambda checkpoints: logging.getLogger("csst_jax").info("takes long") or names(checkpoints)
sys.argv = ["evaluate", "--config=configs/base.py", "--config.data.dir={tiny_data}", "--checkpoint={teacher}",
            "--config.compilation_cache_dir=", "--output={tmp_path}"]
runpy.run_module("csst_jax.evaluate", run_name="__main__", alter_sys=True)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "takes long" in done.stderr.splitlines(), "no time, thread and line of the program before it"
    results = json.loads((teacher.parent / "results.json").read_text())["teacher"]
    assert json.loads((tmp_path / "scores.json").read_text())["networks"]["teacher"]["miou"] == results["miou"]
    assert f"{100 * results['miou']:.1f}" in done.stdout


_ONE_OF_TWO = """
import functools, runpy, sys, time
import jax
jax.distributed.initialize = functools.partial(jax.distributed.initialize, shutdown_timeout_seconds=3)  # 300 by default
from csst_jax.models import zoo
from csst_jax.stages import scoring
zoo.NETWORKS["toy"] = zoo.Entry("tests.toy_network:build")
draw = scoring.Judge.draw
scoring.Judge.draw = lambda *arguments: (time.sleep(8), draw(*arguments))
runpy.run_module("csst_jax.evaluate", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_processes_wait_for_the_one_that_draws(teacher, tiny_data, tmp_path):
    arguments = [f"--config.data.dir={tiny_data}", f"--checkpoint={teacher}", f"--output={tmp_path}"]
    flags = ["--config=configs/base.py", "--config.compilation_cache_dir=", *arguments]
    for process in start_together([[sys.executable, "-c", _ONE_OF_TWO, *flags]] * 2):
        finish(process, timeout=300)
    assert (tmp_path / "scores.json").exists() and (tmp_path / "comparison.png").exists()


@pytest.mark.slow
def test_the_default_output_is_looked_at_before_anything_is_predicted(weights, tmp_path):
    (tmp_path / "scores").touch()
    arguments = ["--config=demo", f"--checkpoint={weights}", "--config.compilation_cache_dir="]
    done = subprocess.run(
        [sys.executable, "-m", "csst_jax.evaluate", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f"error: --output={tmp_path}/scores is a file; move that, or give another --output" in done.stderr


def test_a_submission_is_packed_on_this_machine(config, bucket):
    output = storage.as_path("gs://bucket/scores")
    with pytest.raises(CsstError, match="the output is gs://bucket/scores; give a local --output"):
        evaluated(config, [output.parent / "student"], output, submission="cityscapes")
    assert bucket.names() == []
