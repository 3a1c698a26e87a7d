"""What a run takes of the classifier of weights that it starts from."""

import dataclasses

import pytest

from csst_jax.models import zoo
from csst_jax.models.weights import files
from csst_jax.settings import resolve
from csst_jax.stages import experiment
from tests.prediction import toy_file
from tests.toy_network import train_toys


@pytest.fixture
def started(tiny_config, tmp_path, monkeypatch):
    """What the teacher takes of the classifier of a file with four named classes, for a data set's classes."""
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    config = train_toys(tiny_config(tmp_path))
    config.teacher.pretrained = str(toy_file.write(tmp_path / "model.safetensors"))

    def start_rows(classes):
        settings = experiment._by_class_name(resolve.run(config), classes)
        assert settings.student.network.start_rows is None, "it has no pretrained weights"
        return settings.teacher.network.start_rows

    return start_rows


def test_as_many_pretrained_classes_are_taken_by_name_where_it_is_known(started, tmp_path, caplog):
    caplog.set_level("INFO")
    assert toy_file.CLASSES == ("road", "car", "person", "sky")
    assert started(toy_file.CLASSES) is None
    assert "other classes" not in caplog.text
    assert started(("sky", "road", "bus", "car")) == (3, 0, -1, 1)
    assert "kept in the classifier: sky, road, car; new: bus; left out: person" in caplog.text
    arrays, description = files.read(tmp_path / "model.safetensors")
    files.write(tmp_path / "model.safetensors", arrays, dataclasses.replace(description, classes=(), palette=()))
    assert started(("sky", "road", "bus", "car")) is None, "names are not known"


def test_another_number_of_pretrained_classes_begins_anew(started):
    assert started(("sky", "road")) is None
