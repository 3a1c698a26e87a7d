"""What is wrong with flags that argparse reads is said in one line."""

import os
import pathlib
import subprocess
import sys

import pytest

from csst_jax.arguments import Parser
from tests.reporting import made_workdir

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    "arguments,said",
    [
        ([], "--workdir, --size are missing."),
        (["--size=3"], "--workdir is missing."),
        (["--workdri=w"], "there is no flag --workdri. Did you mean --workdir?"),
        (["--work=w", "--size=3"], "there is no flag --work."),
        (["--qqqq"], "there is no flag --qqqq."),
        (["--workdir=w", "--size=x"], "argument --size: invalid int value: 'x'."),
    ],
)
def test_one_line_says_what_is_wrong(arguments, said, capsys):
    parser = Parser("csst_jax.nothing", "Does nothing.")
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--size", type=int, required=True)
    with pytest.raises(SystemExit) as exit:
        parser.parse_args(arguments)
    told = capsys.readouterr().err
    assert exit.value.code == 2 and told.startswith(f"error: {said}") and told.endswith("explains every flag.\n")
    assert told.count("\n") == 1


def test_flags_of_a_configuration_are_known_where_it_is_taken(capsys):
    parser = Parser("csst_jax.nothing", None)
    parser.require_known(["--config.seed=1", "value"], keys=True)
    with pytest.raises(SystemExit):
        parser.require_known(["--config.seed=1"])
    assert "there is no flag --config.seed." in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["models"], ["status", "--workdir={run}"]])
def test_a_reader_that_has_closed_its_pipe_is_no_error(tmp_path, command):
    """`csst status --workdir=runs/mine | head -2`."""
    made_workdir.whole(tmp_path / "run")
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "csst_jax", *(word.format(run=tmp_path / "run") for word in command)]
    done = subprocess.run(words, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
