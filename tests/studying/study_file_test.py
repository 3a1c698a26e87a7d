"""Files of studies: ours and the user's."""

import pytest

from csst_jax import command_line
from csst_jax.schedules.crops import KINDS
from csst_jax.studying import arms, study_file
from csst_jax.types import CsstError


@pytest.mark.parametrize("name", study_file.names())
def test_every_run_of_our_studies_has_sound_settings(name, tmp_path):
    study = study_file.load(name)
    found = arms.runs(study, tmp_path, lambda chosen: command_line.with_overrides(chosen, []))
    assert len(found) == len(study.arms) * 3
    assert all("," not in arm.name for arm in study.arms), "--arms separates names by commas"


def test_ours_are_those_of_the_paper():
    assert study_file.names() == ["masks_and_pool", "schedules"]
    assert [arm.name for arm in study_file.load("schedules").arms] == list(KINDS)


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
    with pytest.raises(CsstError, match="no such Python file. These come with csst_jax: masks_and_pool, schedules"):
        study_file.load("schedule")


def test_the_example_in_the_message_is_a_study(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("\n".join(line[4:] for line in study_file._EXAMPLE.splitlines()))
    assert len(study_file.load(str(path)).arms) == 2
