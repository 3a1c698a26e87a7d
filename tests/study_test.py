"""`csst_jax.study`: what the command line takes."""

import pytest

from csst_jax import study
from csst_jax.studying import command, engine
from tests.studying import grid

OWN = """
from csst_jax.studying.arms import Arm, Study

def get_study():
    return Study("Rates", "demo", (Arm("slow", {"student.lr.base": 0.01}), Arm("fast", {"student.lr.base": 0.1})))
"""


@pytest.fixture(autouse=True)
def signals_stay(monkeypatch):
    """What a process does once, for good."""
    monkeypatch.setattr(command, "stop_between_stages", lambda: None)
    monkeypatch.setattr(command.startup, "quiet_libraries", lambda: None)


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def test_runs_of_a_file_with_its_table_and_a_failure(own, tmp_path, monkeypatch, capsys):
    made = grid.Made(lambda run: None if run.name == "fast, seed 1" else 0.5)
    monkeypatch.setattr(engine, "_process", made)
    workdir = tmp_path / "w"
    words = [f"--config={own}", f"--workdir={workdir}", "--seeds=0,1", "--config.student.epochs=3"]
    assert study.main(words) == 1
    shown = capsys.readouterr()
    assert f"FAILED  fast, seed 1: {workdir / 'runs' / 'fast-1' / 'output.txt'}" in shown.err
    assert "| slow | 50.0 ± 0.0 |     2 |" in shown.out and f"tables  {workdir / 'study.md'}" in shown.out
    assert "--config.student.epochs=3 --config.student.lr.base=0.1" in (workdir / "study.md").read_text()
    assert study.main(words) == 1, "the failed one is tried again"
    assert made.started == ["slow, seed 0", "fast, seed 0", "slow, seed 1", "fast, seed 1", "fast, seed 1"]


def test_a_dry_run_of_ours(tmp_path, capsys):
    words = ["--config=table4", f"--workdir={tmp_path}", "--seeds=0", "--arms=constant,coarse2fine+", "--dry_run"]
    assert study.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "--config.student.schedule.kind=coarse2fine+ " in lines[1]


@pytest.mark.parametrize(
    "more,words",
    [
        (["--arms=none"], "--arms: unknown 'none'"),
        (["--config.student.lr.base=0.5"], "arm 'slow' sets this key to 0.01"),
        (["--config.seed=1"], "--seeds instead"),
    ],
)
def test_what_is_wrong_is_told(own, tmp_path, capsys, more, words):
    assert study.main([f"--config={own}", f"--workdir={tmp_path / 'w'}", *more]) == 2
    assert words in capsys.readouterr().err
