"""Files of studies: ours and the user's."""

import jax
import pytest

from csst_jax import build, command_line
from csst_jax.models import nnx_io
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.schedules.crops import KINDS
from csst_jax.settings import resolve
from csst_jax.settings.run import Mesh
from csst_jax.studying import arms, command, study_file
from csst_jax.train.sharding import make_mesh
from csst_jax.train.step import step_program
from csst_jax.types import CsstError

OURS = ["best_of_camvid", "cross_domain", "methods", "sampling_and_crops", "table1a", "table1b", "table3", "table4"]
TRACED: set[tuple[str, ...]] = set()


def runs_of(name, directory):
    """A study and its runs of one seed: the settings of the others are the same."""
    study = study_file.load(name)
    return study, arms.runs(study.only((), (0,)), directory, lambda chosen: command_line.with_overrides(chosen, []))


@pytest.mark.parametrize("name", study_file.names())
def test_every_run_of_our_studies_has_sound_settings(name, tmp_path):
    study, found = runs_of(name, tmp_path)
    seeds = {"best_of_camvid": 1, "methods": 2}.get(name, 3)
    command.require_sound(found)
    assert len(found) == len(study.arms) and len(study.seeds) == seeds
    assert all("," not in arm.name for arm in study.arms), "--arms separates names by commas"


def test_ours_are_those_of_the_paper():
    assert study_file.names() == OURS
    assert [arm.name for arm in study_file.load("table4").arms][: len(KINDS)] == list(KINDS)


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_the_first_step_of_every_training_can_be_traced(name, tmp_path, monkeypatch):
    monkeypatch.setattr(nnx_io, "create", lambda build, seed: nnx_io.abstract(build))  # shapes alone
    mesh = make_mesh(jax.devices()[:1], 1)
    for run in runs_of(name, tmp_path)[1]:
        for stage in {"teacher", "student"} & run.stages:
            block = run.config[stage].copy_and_resolve_references()
            block.pretrained = ""  # other arms' networks are not there
            training = resolve.training(block, IMAGENET)
            # What a step is made of; the rest is data and schedule.
            parts = (block.network, block.loss.to_json(), block.augment.to_json(), block.method.name)
            if not block.epochs or parts in TRACED:
                continue
            TRACED.add(parts)
            first = build.phases(training, 46, mesh)[0]
            program = step_program(build.recipe(training, 11, None, Mesh(-1, 1, split_state=False), mesh), first)
            _, metrics = jax.eval_shape(program.fn, *program.abstract_args)
            assert metrics["loss"].shape == ()
    assert TRACED


@pytest.mark.parametrize(
    "text,words",
    [
        ("", "does not define get_study. It should look like this"),
        ("x = 1\nget_study = lambda: 1 / 0\n", "line 2: ZeroDivisionError"),
        ("def f(:\n", "line 1: SyntaxError"),
        ("def get_study():\n    return 3\n", "get_study returns int"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path, text, words):
    path = tmp_path / "own.py"
    path.write_text(text)
    with pytest.raises(CsstError, match=words):
        study_file.load(str(path))


def test_a_file_that_is_not_there_is_told_with_ours(tmp_path):
    with pytest.raises(CsstError, match="no such Python file. These come with csst_jax: best_of_camvid, "):
        study_file.load("table5")


def test_the_example_in_the_message_is_a_study(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("\n".join(line[4:] for line in study_file._EXAMPLE.splitlines()))
    assert len(study_file.load(str(path)).arms) == 2


def test_a_study_may_define_dataclasses(tmp_path):
    path = tmp_path / "own.py"
    lines = [
        "from __future__ import annotations",
        "import dataclasses",
        "@dataclasses.dataclass",
        "class A:",
        "    b: int",
    ]
    path.write_text("\n".join([*lines, *(line[4:] for line in study_file._EXAMPLE.splitlines())]))
    assert len(study_file.load(str(path)).arms) == 2
