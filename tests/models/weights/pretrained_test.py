"""Initial values from a file: what is taken, what stays, and what is refused."""

import dataclasses

import numpy as np
import pytest

from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.models.weights import files, pretrained
from csst_jax.types import CsstError


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))


@pytest.fixture
def path(tmp_path):
    """A file for the toy with five classes."""
    network = nnx_io.create(zoo.builder("toy", 5), 7)
    arrays = {name: np.asarray(value) for name, value in (network.params | network.batch_stats).items()}
    files.write(tmp_path / "toy.safetensors", arrays, files.Description("toy", {}, 5, "toys", "0" * 64, IMAGENET))
    return tmp_path / "toy.safetensors"


def test_weights_replace_the_networks_own(path):
    network = pretrained.from_file(nnx_io.create(zoo.builder("toy", 5), 0), path)
    arrays, _ = files.read(path)
    for name, value in (network.params | network.batch_stats).items():
        np.testing.assert_array_equal(value, arrays[name])


def test_other_classes_keep_new_classifiers_alone_and_it_is_said(path, caplog):
    caplog.set_level("INFO")
    own = nnx_io.create(zoo.builder("toy", 3), 0)
    network = pretrained.from_file(own, path)
    new = {name for name in own.params if network.params[name] is own.params[name]}
    assert new == {"classifier.kernel", "classifier.bias", "aux.kernel", "aux.bias"}
    assert "new, as the file has 5 other classes: " in caplog.text and "classifier.kernel" in caplog.text


def test_what_was_never_trained_is_the_seeds_own(path, caplog):
    caplog.set_level("INFO")
    arrays, description = files.read(path)
    initial = ("aux.bias", "aux.kernel", "stem.bn.mean")
    files.write(path, arrays, dataclasses.replace(description, initial=initial))
    own = nnx_io.create(zoo.builder("toy", 5), 0)
    network = pretrained.from_file(own, path)
    before, after = own.params | own.batch_stats, network.params | network.batch_stats
    assert {name for name in before if after[name] is before[name]} == set(initial)
    assert f"{len(arrays) - 3} arrays from" in caplog.text


def test_a_file_that_does_not_fit_lists_both_sides(path):
    arrays, description = files.read(path)
    arrays["more"] = arrays.pop("stem.bn.mean")
    files.write(path, arrays, description)
    with pytest.raises(CsstError, match=r"more: not in the network; stem.bn.mean: None there, \(8,\) here"):
        pretrained.from_file(nnx_io.create(zoo.builder("toy", 5), 0), path)


def test_the_network_is_the_files(path):
    assert pretrained.options(path, "toy", {}) == {}
    with pytest.raises(CsstError, match="holds weights of 'toy', not of 'fast_scnn'"):
        pretrained.options(path, "fast_scnn", {})


def test_options_are_the_files_but_for_the_output_stride(tmp_path):
    path, options = tmp_path / "f.safetensors", {"lineage": "mmseg"}
    description = files.Description("pspnet_resnet50", options, 19, "mmseg", "0" * 64, IMAGENET)
    files.write(path, {"x": np.zeros(1, np.float32)}, description)
    assert pretrained.options(path, "pspnet_resnet50", {"output_stride": 16}) == {
        "lineage": "mmseg",
        "output_stride": 16,
    }
    with pytest.raises(CsstError, match="made for lineage='mmseg', not 'semseg'; leave lineage out"):
        pretrained.options(path, "pspnet_resnet50", {"lineage": "semseg"})


def test_a_file_that_names_no_lineage_is_of_the_default_one(tmp_path):
    """gluon-cv's weights have semseg's shapes, and another dilation."""
    path = tmp_path / "f.safetensors"
    description = files.Description("pspnet_resnet50", {}, 19, files.TRAINED_HERE, "", IMAGENET)
    files.write(path, {"x": np.zeros(1, np.float32)}, description)
    with pytest.raises(CsstError, match="made for lineage='semseg', not 'gluon'; leave lineage out"):
        pretrained.options(path, "pspnet_resnet50", {"lineage": "gluon"})
    assert pretrained.options(path, "pspnet_resnet50", {"lineage": "semseg"}) == {"lineage": "semseg"}


def test_taken_as_they_are_weights_must_be_complete(path):
    pretrained.require_complete(str(path), "abcde")
    with pytest.raises(CsstError, match="has 5 classes, and the data set has 11: a new classifier must be trained"):
        pretrained.require_complete(str(path), "abcdefghijk")
    with pytest.raises(CsstError, match="set pretrained=FILE, or epochs to 1 or more"):
        pretrained.require_complete("", "abcde")
    arrays, _ = files.read(path)
    files.write(path, arrays, files.Description("toy", {}, 5, "toys", "0" * 64, IMAGENET, ("aux.bias",)))
    with pytest.raises(CsstError, match=r"1 arrays hold initial values \(aux.bias, …\)"):
        pretrained.require_complete(str(path), "abcde")
    named = files.Description("toy", {}, 5, "toys", "0" * 64, IMAGENET, classes=tuple("abcde"))
    files.write(path, arrays, named)
    pretrained.require_complete(str(path), "abcde")
    with pytest.raises(CsstError, match="has 'b' as class 1, and the data set has 'c': a new classifier must be tr"):
        pretrained.require_complete(str(path), "acbde")


def test_a_stage_and_a_workdir_are_taken_as_files_are(path, tmp_path):
    stage = tmp_path / "run" / "student"
    stage.mkdir(parents=True)
    path.rename(stage / "model.safetensors")
    for given in (stage, stage.parent):
        assert pretrained.options(given, "toy", {}) == {}
        network = pretrained.from_file(nnx_io.create(zoo.builder("toy", 5), 0), given)
        arrays, _ = files.read(stage / "model.safetensors")
        np.testing.assert_array_equal(network.params["stem.conv.kernel"], arrays["stem.conv.kernel"])
