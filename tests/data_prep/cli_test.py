"""Flags of the commands of `data_prep`: what is wrong with them is said in one line."""

import pytest

from csst_jax.types import CsstError
from data_prep import folder


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        folder.main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_a_misspelt_flag_is_named_and_not_the_one_that_is_missing_in_its_place(capsys):
    said = refused(capsys, "--images=p", "--mask=m", "--classes=a,b", "--data_dir=d", "--name=x")
    assert said == "error: there is no flag --mask. Did you mean --masks? --help explains every flag.\n"
    assert "there is no flag --qqqq. --help" in refused(capsys, "--qqqq")


def test_a_missing_flag_is_named_in_one_line(capsys):
    said = refused(capsys, "--images", "p", "--classes=a,b", "--data_dir=d", "--name=x")
    assert said == "error: --masks is missing. --help explains every flag.\n"


def test_values_that_look_like_flags_are_values(capsys):
    """Behind an equals sign."""
    with pytest.raises(CsstError, match="--name=--x must be lower-case"):
        folder.main(["--images=p", "--masks=m", "--classes=a,b", "--data_dir=d", "--name=--x"])
