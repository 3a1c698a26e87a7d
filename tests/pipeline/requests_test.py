"""A workdir belongs to its settings and inputs; what is finished is not made again."""

import json
import shutil

import pytest

from csst_jax import pipeline
from csst_jax.settings import resolve
from csst_jax.stages.artifact import StaleArtifactError
from tests.pipeline.outcomes import all_stages


def test_changed_settings_are_refused_by_the_stage_that_they_belong_to(copy, config, no_training):
    config.student.lr.base = 0.123
    with pytest.raises(StaleArtifactError) as error:
        pipeline.run(resolve.run(all_stages(config)), copy)
    message = str(error.value)
    hashes = [json.loads((copy / "student" / "stage.json").read_text())["hash"][:12]]
    assert f"{copy / 'student'} holds the work of other settings or inputs (request {hashes[0]} there" in message
    assert "settings.lr.base: 0.02 there, 0.123 now" in message and "--workdir" in message
    assert (copy / "student" / "DONE").exists(), "something was lost"


def test_labels_of_another_teacher_are_refused(copy, config):
    shutil.rmtree(copy / "teacher")
    config.seed = 1
    with pytest.raises(
        StaleArtifactError,
        match=r"pseudo_labels holds the work of other settings or inputs.*What differs: teacher_sha256",
    ):
        pipeline.run(resolve.run(config), copy)


@pytest.mark.slow
def test_killed_between_the_last_checkpoint_and_the_mark_it_only_sets_the_mark(copy, config, finished):
    (copy / "student" / "DONE").unlink()
    shutil.rmtree(copy / "student" / "evaluation")
    (copy / "results.json").unlink()
    results = pipeline.run(resolve.run(config), copy)
    assert results["student"] == finished[1]["student"]
    assert results["compilations"]["student"]["count"] == 0
