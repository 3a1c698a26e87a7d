"""Every stage's network is one file that needs no other, and a later stage or run starts from it."""

import json
import shutil

import numpy as np
import pytest
from jax.experimental import multihost_utils

import csst_jax
from csst_jax import pipeline
from csst_jax.data.store import DataSet
from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import Preprocessing
from csst_jax.models.weights import files
from csst_jax.settings import resolve
from csst_jax.stages import model_file, train
from csst_jax.stages.artifact import StaleArtifactError
from csst_jax.types import CsstError
from tests.pipeline.outcomes import all_stages, evaluated, finished_teacher, unscored


@pytest.mark.slow
def test_every_network_is_one_file_that_needs_no_other(finished, config, tiny_data, tmp_path):
    workdir, results = finished
    alone = tmp_path / "elsewhere.safetensors"
    shutil.copy(workdir / "student" / "model.safetensors", alone)
    student = csst_jax.load(alone)
    description = DataSet.open(tiny_data).description
    assert (student.classes, student.palette) == (description.classes, description.palette)
    said = student.description
    assert (said.network, said.steps, said.method, said.dtype) == ("toy", 4, "supervised", "float32")
    assert said.weights_sha256 == results["student"]["weights_sha256"]
    assert said.scores == {
        "split": "val", "images": 3, "miou": results["student"]["miou"], "iou": results["student"]["iou"]
    }  # fmt: skip
    asked = json.loads((workdir / "student" / "stage.json").read_text())
    assert said.origin == {
        "stage": "student",
        "data_set": "tiny",
        "request_sha256": asked["hash"],
        "teacher_sha256": results["teacher"]["weights_sha256"],
        **{name: asked["request"][name] for name in ("labels_sha256", "records_sha256", "pretrained_sha256")},
    }
    for name in ("teacher", "student", "baseline"):
        found = files.describe(workdir / name)
        assert found.weights_sha256 == results[name]["weights_sha256"] and found.scores["miou"] == results[name]["miou"]
    images = np.random.default_rng(0).uniform(size=(1, 32, 48, 3)).astype(np.float32)
    assert csst_jax.load(workdir)(images).tobytes() == student(images).tobytes()


def test_a_finished_stage_is_loaded_from_its_file_without_its_checkpoints(copy, config, no_training, monkeypatch):
    monkeypatch.setattr(train, "Checkpoints", None)
    for name in ("teacher", "student", "baseline"):
        shutil.rmtree(copy / name / "checkpoints")
    before = (copy / "results.json").read_bytes()
    pipeline.run(resolve.run(all_stages(config)), copy)
    assert (copy / "results.json").read_bytes() == before


def test_processes_wait_until_the_first_one_has_written_the_network(config, tmp_path, monkeypatch):
    """With `finetune_teacher` each of them reads the file."""
    there = {}

    def note(name, *_, **__):
        there[name] = {path.name for path in (tmp_path / "teacher").iterdir()}

    monkeypatch.setattr(multihost_utils, "sync_global_devices", note)
    config.stages = "teacher"
    pipeline.run(resolve.run(config), tmp_path)
    assert {"model.safetensors", "DONE"} < there["teacher finished"]


def test_a_finished_stage_that_lost_its_file_gets_it_from_its_checkpoint(copy, config, finished):
    for name in ("teacher", "student", "baseline"):
        (copy / name / "model.safetensors").unlink()
    pipeline.run(resolve.run(all_stages(config)), copy)
    for name in ("teacher", "student", "baseline"):
        again, before = ((workdir / name / "model.safetensors").read_bytes() for workdir in (copy, finished[0]))
        assert again == before, name  # the scores, too


def test_batch_normalisation_measured_at_the_end_changes_the_file_alone(copy, config, finished, tmp_path):
    config.stages, config.teacher.precise_bn_steps = "teacher", 2
    pipeline.run(resolve.run(config), tmp_path / "measured")
    path = tmp_path / "measured" / "teacher" / "model.safetensors"
    plain, found = (model_file.load(file) for file in (finished[0] / "teacher", path))
    for own, part in zip(plain.weights, found.weights, strict=True):
        same = [np.array_equal(own[name], part[name]) for name in own]
        assert all(same) if own is plain.weights[0] else not any(same)
    first = path.read_bytes()
    path.unlink()
    pipeline.run(resolve.run(config), tmp_path / "measured")
    assert path.read_bytes() == first, "what the checkpoint gives once more"
    with pytest.raises(StaleArtifactError, match="precise_bn_steps"):
        pipeline.run(resolve.run(config), copy)


def test_as_many_full_crops_are_measured_as_asked_for_whatever_the_schedule_and_for_snapshots_too(
    config, tmp_path, monkeypatch
):
    """Crops of this schedule change with every epoch, which has two or one steps."""
    config.stages, config.teacher.precise_bn_steps, config.teacher.snapshots = "teacher", 5, 1
    config.teacher.schedule.kind = "fine2coarse+"
    shapes = []

    def measure(recipe, seed):
        def measured(params, stats, batches):
            shapes.append([batch["labelled"]["image"].shape for batch in batches])
            return stats

        return measured

    monkeypatch.setattr(train.precise_bn, "measure", measure)
    pipeline.run(resolve.run(config), tmp_path)
    assert shapes == [[(8, 64, 64, 3)] * 5] * 2, "the last network and the snapshot"


def test_a_network_that_is_not_trained_keeps_the_statistics_that_it_came_with(config, finished, tmp_path):
    config.stages, config.teacher.precise_bn_steps = "teacher", 2
    config.teacher.pretrained, config.teacher.epochs = str(finished[0] / "teacher"), 0
    pipeline.run(resolve.run(config), tmp_path)
    there, here = (model_file.load(directory / "teacher").weights for directory in (finished[0], tmp_path))
    for own, part in zip(there, here, strict=True):
        assert own.keys() == part.keys() and all(np.array_equal(own[name], part[name]) for name in own)


def test_a_finished_stage_without_its_file_and_its_checkpoints_is_explained(copy, config):
    (copy / "teacher" / "model.safetensors").unlink()
    shutil.rmtree(copy / "teacher" / "checkpoints")
    with pytest.raises(CsstError, match="both model.safetensors and the last checkpoint are missing"):
        pipeline.run(resolve.run(config), copy)


def test_a_damaged_file_is_explained_and_made_again(copy, config):
    path = copy / "teacher" / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    config.stages = "teacher"
    with pytest.raises(
        CsstError, match=r"teacher/model.safetensors is damaged: .*, in its stage's directory, delete it"
    ):
        pipeline.run(resolve.run(config), copy)
    path.unlink()
    pipeline.run(resolve.run(config), copy)
    files.read(path)


@pytest.mark.slow
def test_a_student_of_pretrained_weights_is_loaded_when_these_are_gone(config, tmp_path):
    """Their options and preprocessing are in its own file: nothing else has to be where it was."""
    start = tmp_path / "start.safetensors"
    first = nnx_io.create(zoo.builder("toy", 7), 0)
    arrays = {name: np.asarray(value) for name, value in (first.params | first.batch_stats).items()}
    bgr = Preprocessing((104.0, 117.0, 123.0), (57.0, 57.0, 57.0), "BGR", 255.0)
    files.write(start, arrays, files.Description("toy", {"width": 0.5}, 7, "toys", "0" * 64, bgr))
    config.student.pretrained, config.student.width = str(start), 1.0
    results = pipeline.run(resolve.run(config), tmp_path / "run")
    start.unlink()
    said = csst_jax.load(tmp_path / "run").description
    assert said.options == {"width": 0.5} and said.preprocessing == bgr and said.num_classes == 4
    assert said.origin["pretrained_sha256"]
    found = evaluated(config, [tmp_path / "run"], tmp_path / "scores")["student"]
    assert (found["miou"], found["weights_sha256"]) == (results["student"]["miou"], said.weights_sha256)


@pytest.mark.slow
def test_a_teacher_of_another_run_is_taken_by_its_workdir_and_evaluating_it_changes_no_request(copy, config, tmp_path):
    shutil.rmtree(copy / "teacher" / "evaluation")
    files.write(copy / "teacher" / "model.safetensors", *unscored(copy / "teacher"))
    config.teacher.pretrained, config.teacher.epochs, config.stages = str(copy / "teacher"), 0, "teacher"
    pipeline.run(resolve.run(config), tmp_path / "taken")
    files.add_scores(copy / "teacher" / "model.safetensors", {"miou": 0.5})
    pipeline.run(resolve.run(config), tmp_path / "taken")
    taken, given = files.describe(tmp_path / "taken" / "teacher"), files.describe(copy / "teacher")
    assert (taken.weights_sha256, taken.steps) == (given.weights_sha256, 0)
    config.teacher.pretrained = str(copy)  # the student
    with pytest.raises(StaleArtifactError, match="pretrained_sha256"):
        pipeline.run(resolve.run(config), tmp_path / "taken")


@pytest.mark.slow
@pytest.mark.essential("pretrained weights")
def test_pretrained_teacher_is_taken_as_it_is_with_its_preprocessing(copy, config, tmp_path):
    """Stage one is skipped: epochs=0 and a file, whose preprocessing counts and not the configuration's."""
    teacher = finished_teacher(copy, config)
    arrays = {name: np.asarray(value) for part in teacher.weights for name, value in part.items()}
    file = tmp_path / "teacher.safetensors"
    files.write(file, arrays, files.Description("toy", {}, 4, "ours", "0" * 64, teacher.expects))
    config.teacher.update({"pretrained": str(file), "epochs": 0})
    config.normalisation.mean = (0.0, 0.0, 0.0)
    config.stages = "teacher,evaluate"
    results = pipeline.run(resolve.run(config), tmp_path / "taken")
    before = json.loads((copy / "results.json").read_text())
    assert results["teacher"]["steps"] == 0
    for key in ("miou", "iou", "weights_sha256"):
        assert results["teacher"][key] == before["teacher"][key]
