"""The file that a training stage ends with, and the check that it is what the stage finished with."""

import dataclasses

import numpy as np
import pytest

from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.models.weights import files
from csst_jax.stages import model_file
from csst_jax.stages.artifact import Artifact, Request
from csst_jax.types import CsstError

DESCRIPTION = files.Description("toy", {}, 3, files.TRAINED_HERE, "", IMAGENET, steps=7)


@pytest.fixture
def network(monkeypatch):
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    return nnx_io.create(zoo.builder("toy", 3), 0)


@pytest.fixture
def artifact(tmp_path):
    asked = {"seed": 1, "labels_sha256": {"real": "a"}, "pretrained_sha256": "c", "teacher_sha256": "d"}
    return Artifact(tmp_path / "student", Request(asked))


def weights_of(network):
    return tuple({name: np.asarray(x) for name, x in part.items()} for part in (network.params, network.batch_stats))


def test_what_is_saved_is_loaded(network, artifact):
    weights = weights_of(network)
    saved = model_file.save(artifact, network, weights, DESCRIPTION)
    artifact.finish({"weights_sha256": saved.sha256})
    found = model_file.finished(artifact)
    assert found.description == saved.description == model_file.load(artifact.directory.parent).description
    assert (found.sha256, found.steps, found.expects) == (files.weights_sha256(weights[0] | weights[1]), 7, IMAGENET)
    for own, part in zip(weights, found.weights, strict=True):
        assert own.keys() == part.keys() and all(own[name].tobytes() == part[name].tobytes() for name in own)


def test_other_weights_than_the_stage_finished_with_are_refused(network, artifact):
    weights = weights_of(network)
    saved = model_file.save(artifact, network, weights, DESCRIPTION)
    artifact.finish({"weights_sha256": saved.sha256})
    weights[0]["classifier.bias"] = weights[0]["classifier.bias"] + 1
    with pytest.raises(CsstError, match=r"the weights in .*checkpoints are not those that .*DONE names; delete"):
        model_file.save(artifact, network, weights, DESCRIPTION)
    with pytest.raises(CsstError, match=r"measured again \(precise_bn_steps\), .* its last digits differ"):
        model_file.save(artifact, network, weights, DESCRIPTION, measured=True)
    assert model_file.finished(artifact).sha256 == saved.sha256, "the file was replaced"
    files.write(artifact.directory / "model.safetensors", weights[0] | weights[1], DESCRIPTION)
    with pytest.raises(CsstError, match=r"the weights in .*model.safetensors are not those that .*DONE names"):
        model_file.finished(artifact)


def test_the_first_process_writes_alone(network, artifact, monkeypatch):
    monkeypatch.setattr(model_file.jax, "process_index", lambda: 1)
    trained = model_file.save(artifact, network, weights_of(network), DESCRIPTION)
    assert trained.sha256 and not (artifact.directory / "model.safetensors").exists()


def test_a_file_of_an_earlier_version_has_a_hash_once_it_is_loaded(network, tmp_path, monkeypatch):
    weights = weights_of(network)
    (tmp_path / "x").touch()
    monkeypatch.setattr(files, "_read_safetensors", lambda *_, **__: (weights[0] | weights[1], None))
    monkeypatch.setattr(files, "_description", lambda *_: dataclasses.replace(DESCRIPTION, weights_sha256=""))
    assert model_file.load(tmp_path / "x").sha256 == files.weights_sha256(weights[0] | weights[1])


def test_the_origin_is_the_request_its_inputs_and_the_teacher(artifact):
    assert model_file.origin(artifact, "tiny") == {
        "stage": "student",
        "data_set": "tiny",
        "request_sha256": artifact.hash,
        "labels_sha256": {"real": "a"},
        "records_sha256": None,
        "pretrained_sha256": "c",
        "teacher_sha256": "d",
    }


def test_a_file_with_parts_that_were_never_trained_is_told(network, tmp_path, caplog):
    arrays = {name: value for part in weights_of(network) for name, value in part.items()}
    imported = dataclasses.replace(DESCRIPTION, initial=("classifier.bias", "classifier.kernel"))
    files.write(tmp_path / "trunk.safetensors", arrays, imported)
    model_file.load(tmp_path / "trunk.safetensors")
    assert "trunk.safetensors: 2 arrays hold initial values (classifier.bias, …); until they are" in caplog.text
    caplog.clear()
    files.write(tmp_path / "whole.safetensors", arrays, DESCRIPTION)
    model_file.load(tmp_path / "whole.safetensors")
    assert not caplog.text
