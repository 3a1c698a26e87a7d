"""A workdir belongs to its settings and inputs; what is finished is not made again."""

import dataclasses
import shutil

import pytest

from csst_jax import pipeline
from csst_jax.data.store import DataSet
from csst_jax.settings import resolve
from csst_jax.stages.artifact import StaleArtifactError
from data_prep import builder
from tests.conftest import tiny_examples
from tests.pipeline.outcomes import all_stages


def test_changed_settings_are_refused_by_the_stage_that_they_belong_to(copy, config, no_training):
    config.student.lr.base = 0.123
    with pytest.raises(StaleArtifactError) as error:
        pipeline.run(resolve.run(all_stages(config)), copy)
    message = str(error.value)
    assert f"{copy / 'student'} holds the work of other settings or inputs. What differs: " in message
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


@pytest.mark.parametrize("split,number,stage", [("train", 1, "teacher"), ("train", 6, "pseudo_labels"), ("val", 0, "")])
def test_images_replaced_under_their_names_are_noticed(copy, config, tmp_path, no_training, split, number, stage):
    examples = {"train": list(tiny_examples(0, 8, labelled=4)), "val": list(tiny_examples(100, 3, labelled=3))}
    other = next(tiny_examples(77, 1, labelled=1)).image_bytes
    examples[split][number] = dataclasses.replace(examples[split][number], image_bytes=other)
    description = DataSet.open(config.data.dir).description
    builder.prepare(description, examples, tmp_path / "data", source_sha256="replaced")
    config.data.dir = str(tmp_path / "data")
    where = copy / stage if stage else copy / "teacher" / "evaluation"
    with pytest.raises(
        StaleArtifactError, match=rf"^{where} was made from images that have changed since: .*--workdir"
    ):
        pipeline.run(resolve.run(all_stages(config)), copy)


@pytest.mark.slow
def test_killed_between_the_last_checkpoint_and_the_mark_it_only_sets_the_mark(copy, config, finished):
    (copy / "student" / "DONE").unlink()
    shutil.rmtree(copy / "student" / "evaluation")
    (copy / "results.json").unlink()
    results = pipeline.run(resolve.run(config), copy)
    assert results["student"] == finished[1]["student"]
    assert results["compilations"]["student"]["count"] == 0
