"""A file, a stage's directory or a workdir, on a disk or in a bucket, leads to the same file."""

import numpy as np
import pytest

import csst_jax
from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.models.weights import files
from csst_jax.models.weights.locate import MODEL_FILE, locate
from csst_jax.types import CsstError


@pytest.fixture
def workdir(tmp_path):
    """With a teacher and a student."""
    for name in ("teacher", "student"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / MODEL_FILE).write_bytes(name.encode())
    return tmp_path / "run"


def test_a_file_a_stage_and_a_workdir(workdir, monkeypatch):
    file = workdir / "student" / MODEL_FILE
    assert locate(file) == locate(str(workdir / "student")) == locate(workdir) == file
    assert locate(workdir / "teacher") == workdir / "teacher" / MODEL_FILE
    monkeypatch.chdir(workdir)
    assert locate("student") == locate(".") == file


@pytest.mark.parametrize(
    "path,said",
    [
        ("run/techer", "there is no {here}/run/techer; {here}/run has: teacher. Give a file of weights"),
        ("xyz", "there is no {here}/xyz; {here} has: run. Give a file of weights"),
        ("nowhere/student", "there is no {here}/nowhere/student. Give a file of weights"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(workdir, path, said):
    with pytest.raises(CsstError) as error:
        locate(workdir.parent / path)
    assert str(error.value).startswith(said.format(here=workdir.parent))


def test_a_workdir_without_a_student_names_what_is_there(workdir):
    (workdir / "student" / MODEL_FILE).unlink()
    message = rf"run has no finished student; it has: teacher. Give one of them, as {workdir}/teacher, or run"
    with pytest.raises(CsstError, match=message):
        locate(workdir)
    with pytest.raises(CsstError, match=rf"student has no {MODEL_FILE}. .* If a stage is not finished, .* run its com"):
        locate(workdir / "student")


def test_a_bucket(bucket, tmp_path, monkeypatch):
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    network = nnx_io.create(zoo.builder("toy", 3), 0)
    arrays = {name: np.asarray(value) for name, value in (network.params | network.batch_stats).items()}
    description = files.Description("toy", {}, 3, files.TRAINED_HERE, "", IMAGENET, classes=("a", "b", "c"))
    files.write("gs://bucket/run/student/model.safetensors", arrays, description)
    assert bucket.names() == ["run/student/model.safetensors"]
    for path in ("gs://bucket/run/student/model.safetensors", "gs://bucket/run/student", "gs://bucket/run"):
        assert csst_jax.load(path).classes == ("a", "b", "c")
    files.add_scores(locate("gs://bucket/run"), {"miou": 0.5})
    assert csst_jax.load("gs://bucket/run").description.scores == {"miou": 0.5}
    assert bucket.names() == ["run/student/model.safetensors"]
    with pytest.raises(CsstError, match="there is no gs://bucket/none.safetensors; gs://bucket has: run"):
        csst_jax.load("gs://bucket/none.safetensors")
