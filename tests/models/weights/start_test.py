"""Going on from a run: which of its networks, and which classes keep their part of the classifier."""

import numpy as np
import pytest

from csst_jax.models import nnx_io, zoo
from csst_jax.models.weights import files, pretrained
from csst_jax.types import CsstError
from tests.prediction import toy_file


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    for name in ("toy", "other"):
        monkeypatch.setitem(zoo.NETWORKS, name, zoo.Entry("tests.toy_network:build"))


@pytest.fixture
def run(tmp_path):
    """A workdir whose teacher is of another kind than its student."""
    toy_file.write(tmp_path / "student" / "model.safetensors")
    toy_file.write(tmp_path / "baseline" / "model.safetensors")
    arrays, description = files.read(toy_file.write(tmp_path / "teacher" / "model.safetensors"))
    other = files.dataclasses.replace(description, network="other")
    files.write(tmp_path / "teacher" / "model.safetensors", arrays, other)
    return tmp_path


def test_the_student_is_taken_where_it_is_of_the_kind(run):
    assert pretrained.of_run(run, "toy") == str(run / "student" / "model.safetensors")
    assert pretrained.of_run(run, "other") == str(run / "teacher" / "model.safetensors")
    for one in (run / "teacher", run / "teacher" / "model.safetensors"):
        assert pretrained.of_run(one, "other") == str(run / "teacher" / "model.safetensors")


def test_a_network_that_is_not_there_is_refused_with_those_that_are(run):
    with pytest.raises(CsstError, match=r"has student 'toy', teacher 'other', and network is 'fcn'; set network"):
        pretrained.of_run(run, "fcn")
    assert pretrained.of_run(run, "fcn", required=False) == ""
    with pytest.raises(CsstError, match="has no trained network: no student, baseline, teacher"):
        pretrained.of_run(run.parent, "toy")


def test_classes_keep_their_rows_by_name(run, caplog):
    caplog.set_level("INFO")
    path = run / "student" / "model.safetensors"
    assert toy_file.CLASSES == ("road", "car", "person", "sky")
    assert pretrained.rows(path, toy_file.CLASSES) is None
    names = ("person", "vehicle", "road")
    start_rows = pretrained.rows(path, names)
    assert start_rows == (2, -1, 0)
    own, wider = (nnx_io.create(zoo.builder("toy", count), 5) for count in (3, 4))
    found, arrays = pretrained.by_name(own, wider, path, start_rows), files.read(path)[0]
    for name in ("classifier.kernel", "classifier.bias", "aux.kernel", "aux.bias"):
        np.testing.assert_array_equal(found.params[name][..., 0], arrays[name][..., 2])
        np.testing.assert_array_equal(found.params[name][..., 1], own.params[name][..., 1])
        np.testing.assert_array_equal(found.params[name][..., 2], arrays[name][..., 0])
    np.testing.assert_array_equal(found.params["stem.conv.kernel"], arrays["stem.conv.kernel"])
    pretrained.tell_rows(path, names, start_rows)
    assert "kept in the classifier: person, road; new: vehicle; left out: car, sky" in caplog.text


def test_as_many_classes_in_another_order_are_not_taken_for_the_same(run):
    path = run / "student" / "model.safetensors"
    own, wider = (nnx_io.create(zoo.builder("toy", count), 5) for count in (4, 5))
    names = toy_file.CLASSES[::-1]
    found = pretrained.by_name(own, wider, path, pretrained.rows(path, names))
    np.testing.assert_array_equal(found.params["classifier.bias"], files.read(path)[0]["classifier.bias"][::-1])
    kernel = files.read(path)[0]["classifier.kernel"]
    np.testing.assert_array_equal(found.params["classifier.kernel"], kernel[..., ::-1])
