"""`start_from`: a new run begins with the networks of a finished one."""

import dataclasses
import json

import numpy as np
import pytest

from csst_jax import pipeline
from csst_jax.data.store import DataSet
from csst_jax.models.weights import files
from csst_jax.settings import resolve
from csst_jax.stages import train
from csst_jax.stages.artifact import StaleArtifactError
from csst_jax.types import CsstError, DatasetDescription
from data_prep import builder
from tests.conftest import tiny_examples

pytestmark = pytest.mark.slow


class Caught(Exception):
    pass


@pytest.fixture
def caught(monkeypatch):
    """What a stage would have trained, of the first one that begins."""
    found = []

    def catch(run):
        found.append(run)
        raise Caught

    monkeypatch.setattr(train, "train", catch)
    return found


def begin(config, workdir):
    with pytest.raises(Caught):
        pipeline.run(resolve.run(config), workdir)


def test_the_teacher_begins_with_the_runs_student_and_its_hash_is_in_the_request(
    finished, config, caught, tmp_path, caplog
):
    caplog.set_level("INFO")
    config.start_from = str(finished[0])
    begin(config, tmp_path / "next")
    params, stats = caught[0].recipe.method.trained()
    arrays, _ = files.read(finished[0] / "student")
    assert {**params, **stats}.keys() == arrays.keys()
    for name, value in {**params, **stats}.items():
        np.testing.assert_array_equal(value, arrays[name])
    asked = json.loads((tmp_path / "next" / "teacher" / "stage.json").read_text())["request"]
    assert asked["pretrained_sha256"] == files.identity(finished[0] / "student")
    assert "start_rows" not in asked and "start_from" not in asked["settings"]
    assert f"teacher: starts from {finished[0] / 'student' / 'model.safetensors'}" in caplog.text


def test_classes_that_are_merged_keep_the_others_rows(finished, config, caught, tmp_path, caplog):
    caplog.set_level("INFO")
    palette = ((128, 64, 128), (220, 20, 60), (0, 0, 142))
    of = np.array([1, 0, 2, 2, *[255] * 252], np.uint8)  # ground, box, post, sign

    def merged(*arguments):
        return [dataclasses.replace(e, label=of[e.label]) for e in tiny_examples(*arguments)]

    builder.prepare(
        DatasetDescription("merged", ("box", "ground", "upright"), palette),
        {"train": merged(0, 8, 4), "val": merged(100, 3, 3)},
        tmp_path / "data",
        source_sha256="here",
    )
    config.data.dir, config.start_from = str(tmp_path / "data"), str(finished[0])
    begin(config, tmp_path / "next")
    params, _ = caught[0].recipe.method.trained()
    bias = files.read(finished[0] / "student")[0]["classifier.bias"]
    np.testing.assert_array_equal(np.asarray(params["classifier.bias"])[:2], bias[[1, 0]])
    assert json.loads((tmp_path / "next" / "teacher" / "stage.json").read_text())["request"]["start_rows"] == [1, 0, -1]
    assert "kept in the classifier: box, ground; new: upright; left out: post, sign" in caplog.text


def test_another_kind_of_network_is_refused_before_anything_is_written(finished, config, tmp_path):
    config.teacher.network, config.start_from = "fast_scnn", str(finished[0])
    with pytest.raises(CsstError, match=r"teacher: start_from=.* has student 'toy', teacher 'toy', and network is"):
        resolve.run(config)
    config.stages = "student,evaluate"  # the teacher is not asked for
    assert resolve.run(config).teacher.network.pretrained == ""


def test_a_data_set_that_has_grown_is_told_with_the_way_on(copy, config, tmp_path, no_training):
    more = tiny_examples(0, 9, labelled=5)
    description = DataSet.open(config.data.dir).description
    examples = {"train": more, "val": tiny_examples(100, 3, labelled=3)}
    builder.prepare(description, examples, tmp_path / "data", source_sha256="grown")
    config.data.dir = str(tmp_path / "data")
    with pytest.raises(StaleArtifactError, match=rf"The data set has changed.*--config.start_from={copy}\."):
        pipeline.run(resolve.run(config), copy)


@pytest.mark.essential("going on from a run")
def test_a_run_that_goes_on_is_finished_and_leaves_the_first_one_alone(finished, config, tmp_path):
    before = (finished[0] / "results.json").read_bytes()
    config.start_from = str(finished[0])
    results = pipeline.run(resolve.run(config), tmp_path / "next")
    assert results["student"]["weights_sha256"] != finished[1]["student"]["weights_sha256"]
    assert files.describe(tmp_path / "next").origin["pretrained_sha256"] == files.identity(finished[0])
    assert (finished[0] / "results.json").read_bytes() == before
    assert pipeline.run(resolve.run(config), tmp_path / "next") == results, "it is not skipped when it is finished"
