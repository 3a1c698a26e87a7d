"""Runs that are scored again: their networks, the same images for all, and data that has grown since."""

import dataclasses
import json
import shutil

import pytest

from csst_jax.models import zoo
from csst_jax.runtime.json_files import write_json
from csst_jax.settings import resolve
from csst_jax.stages import rescored
from csst_jax.stages.requests import validation_sha256
from csst_jax.types import CsstError
from tests.prediction import toy_file


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))


@pytest.fixture
def run(tiny_config, tiny_data, tmp_path):
    """A run's workdir, as far as it is looked at, and its data."""
    config = tiny_config(tiny_data)
    workdir = tmp_path / "runs" / "a"
    for stage in ("student", "teacher"):
        toy_file.write(workdir / stage / "model.safetensors")
    write_json(workdir / "config.json", config.to_dict())
    data = resolve.data(config)
    judged = {"labels_sha256": validation_sha256(data.evaluation(data.open()))}
    write_json(workdir / "teacher" / "evaluation" / "stage.json", {"request": judged})
    write_json(workdir / "teacher" / "evaluation" / "DONE", {"images": 3})
    return workdir, data


def test_all_networks_of_a_run_are_scored_the_teacher_first(run):
    assert [path.name for path in rescored.networks(run[0])] == ["teacher", "student"]
    with pytest.raises(CsstError, match="has no trained network"):
        rescored.networks(run[0].parent)


def test_validation_images_that_have_changed_are_told(run, capsys):
    workdir, data = run
    rescored.tell_changed([workdir], data)
    assert capsys.readouterr().out == ""
    write_json(workdir / "teacher" / "evaluation" / "stage.json", {"request": {"labels_sha256": "other"}})
    write_json(workdir / "teacher" / "evaluation" / "DONE", {"images": 2})
    rescored.tell_changed([workdir], data)
    said = capsys.readouterr().out
    assert "its validation masks have changed since it was scored: 2 then, 3 now" in said
    assert "These scores are for the current masks" in said
    rescored.tell_changed([workdir], dataclasses.replace(data, val_split="train"))
    assert capsys.readouterr().out == "", "the user chose other images"


def test_runs_of_different_images_are_not_compared(run, tmp_path):
    workdir, data = run
    other = shutil.copytree(workdir, tmp_path / "runs" / "b")
    rescored.require_same_data([workdir, other], data)
    config = json.loads((other / "config.json").read_text())
    config["data"]["val_split"] = "train"
    write_json(other / "config.json", config)
    with pytest.raises(CsstError, match="were judged on different images: .* split 'val', and .* split 'train'"):
        rescored.require_same_data([workdir, other], data)


def test_runs_are_compared_on_images_that_the_user_chose(run, tiny_data, tmp_path):
    """The data set has moved, and `--config.data.dir` says where it is now."""
    workdir, data = run
    config = json.loads((workdir / "config.json").read_text())
    config["data"]["dir"] = str(tmp_path / "earlier")
    write_json(workdir / "config.json", config)
    other = shutil.copytree(workdir, tmp_path / "runs" / "b")
    rescored.require_same_data([workdir, other], data)
    with pytest.raises(CsstError, match="earlier"):
        rescored.require_same_data([workdir, other], dataclasses.replace(data, dir=config["data"]["dir"]))
