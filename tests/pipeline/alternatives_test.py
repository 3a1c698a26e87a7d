"""The paper's other ways of two stages, from labels to scores (§3.1.1)."""

import json

import numpy as np
import pytest

from csst_jax import pipeline
from csst_jax.models.weights import files
from csst_jax.runtime.json_files import read_json
from csst_jax.settings import resolve
from csst_jax.types import CsstError


def asked(workdir, stage="student"):
    return read_json(workdir / stage / "stage.json")["request"]


def told(workdir):
    rows = [json.loads(line) for line in (workdir / "student" / "metrics.jsonl").read_text().splitlines()]
    return {key.removeprefix("loss_") for row in rows for key in row if key.startswith("loss_")}


@pytest.mark.slow
@pytest.mark.essential("soft pseudo labels and the model regulariser")
def test_a_student_of_soft_labels_with_the_regulariser(config, copy, tmp_path):
    """On a copy of a finished run, whose teacher stays."""
    config.label.soft.update({"k": 3, "bits": 4})
    config.student.method.name = "model_regulariser"
    workdir = tmp_path / "soft"
    (workdir / "teacher").parent.mkdir()
    (copy / "teacher").rename(workdir / "teacher")
    results = pipeline.run(resolve.run(config), workdir)
    manifest, hard = (read_json(place / "pseudo_labels" / "manifest.json") for place in (workdir, copy))
    assert manifest["labels_sha256"] == hard["labels_sha256"], "the hard labels are the same"
    assert 0 < manifest["soft"]["hard_bytes_a_pixel"] < manifest["soft"]["bytes_a_pixel"] < 4 * 4
    assert asked(workdir)["soft_sha256"] == manifest["soft"]["sha256"]
    assert asked(workdir, "pseudo_labels")["settings"] == {"shard_size": 2, "soft": {"bits": 4, "k": 3}}
    assert told(workdir) == {"main", "early", "regulariser"} and np.isfinite(results["student"]["miou"])
    config.student.method.name = "supervised"
    with pytest.raises(CsstError, match=r'student holds the work .*method\.name: "model_regulariser" there'):
        pipeline.run(resolve.run(config), workdir)
    config.label.soft.k = 0
    with pytest.raises(CsstError, match=r"pseudo_labels holds the work .*soft"):
        pipeline.run(resolve.run(config), workdir)


@pytest.mark.slow
def test_the_teacher_goes_on_as_the_student(config, copy):
    for stage in ("student", "pseudo_labels"):
        (copy / stage).rename(copy.parent / f"{stage} of before")
    config.finetune_teacher, config.student.lr.base, config.student.lr.per = True, 1e-9, "step"
    config.student.optimizer.sgd.weight_decay = 0.0
    pipeline.run(resolve.run(config), copy)
    teacher, student = (files.read(copy / stage)[0] for stage in ("teacher", "student"))
    for name in (name for name in teacher if "mean" not in name and "var" not in name):
        np.testing.assert_allclose(student[name], teacher[name], atol=1e-6, err_msg=name)
    other, _ = files.read(copy.parent / "student of before")
    assert any(np.abs(other[name] - teacher[name]).max() > 1e-2 for name in teacher)
    assert asked(copy)["pretrained_sha256"] == files.identity(copy / "teacher")


def test_settings_that_do_not_fit_are_refused(config, tmp_path):
    config.label.soft.k = 5
    with pytest.raises(CsstError, match=r"label\.soft\.k is 5, and tiny has 4 classes; give at most that many"):
        pipeline.run(resolve.run(config), tmp_path)
    config.label.soft.k, config.finetune_teacher, config.student.width = 0, True, 0.5
    with pytest.raises(CsstError, match=r"student\.width is 0\.5, and teacher\.width is 0\.25"):
        resolve.run(config)


def test_without_soft_labels_nothing_is_asked_for_that_was_not_before(config):
    config.label.soft.bits = 2
    run = resolve.run(config)
    assert run.label.request.differing == {"shard_size": 2} and "soft" not in run.label.request.whole
    assert run.student.streams[0].soft == 0 and run.label.ranks == 1
    config.label.soft.k = 3
    run = resolve.run(config)
    assert run.student.streams[0].soft == 4 and run.teacher.streams[0].soft == 0 and run.label.ranks == 3
