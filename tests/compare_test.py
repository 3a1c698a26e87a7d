"""`csst_jax.compare`: what the command line takes, and a whole comparison of toys in this process."""

import types

import pytest

from csst_jax import compare, pipeline
from csst_jax.models import zoo
from csst_jax.runtime import claim
from csst_jax.settings import resolve
from csst_jax.stages import train
from csst_jax.studying import command, engine, methods
from tests.toy_network import train_toys


@pytest.fixture(autouse=True)
def signals_stay(monkeypatch):
    """What a process does once, for good."""
    monkeypatch.setattr(command, "stop_between_stages", lambda: None)
    monkeypatch.setattr(command.startup, "quiet_libraries", lambda: None)


@pytest.fixture
def ids(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("image00\nimage01\nimage02\n")
    return path


def test_a_dry_run_prints_what_would_be_run(tiny_data, ids, tmp_path, capsys):
    words = ["--config=demo", "--methods=csst,mean_teacher", "--seeds=3", f"--workdir={tmp_path / 'w'}", "--dry_run"]
    assert compare.main([*words, f"--config.data.dir={tiny_data}", f"--config.data.labelled_ids={ids}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all("--config=demo " in line and "--config.seed=3" in line for line in lines)
    assert [f"labelled_ids={ids}" in line for line in lines] == [True, True, True, False], "the last is the oracle"
    stages = [line.partition("--config.stages=")[2].partition(" ")[0] for line in lines]
    assert stages == ["teacher,evaluate", "", "student,evaluate", "teacher,evaluate"]


@pytest.mark.parametrize(
    "more,words",
    [
        (["--methods=magic"], "unknown method 'magic'"),
        (["--methods=csst", "--config.stages=teacher"], "the methods decide which stages"),
        (["--methods=csst", "--config.seed=4"], "--seeds instead"),
        (["--methods=csst", "--config.student.epoch=4"], "unknown configuration key 'student.epoch'"),
        (["--methods=csst", "--workdir=gs://bucket/w"], "give a directory"),
    ],
)
def test_what_is_wrong_is_told(tiny_data, tmp_path, capsys, more, words):
    given = ["--config=demo", f"--workdir={tmp_path / 'w'}", f"--config.data.dir={tiny_data}", *more]
    assert compare.main(given) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--seeds=a"], ["--seeds=1,1"], ["--jobs=0"], ["-config.seed=1"]])
def test_wrong_flags_are_refused(tmp_path, more):
    with pytest.raises(SystemExit) as left:
        compare.main(["--config=demo", "--methods=csst", f"--workdir={tmp_path}", *more])
    assert left.value.code == 2


def test_two_in_one_workdir_are_refused(tiny_data, tmp_path, capsys):
    words = ["--config=demo", "--methods=csst", f"--workdir={tmp_path}", f"--config.data.dir={tiny_data}"]
    with claim.locked(tmp_path):
        assert compare.main([*words, "--dry_run"]) == 2
    assert f"{tmp_path} is in use by another run (process " in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.essential("a comparison of methods")
def test_a_comparison_trains_one_teacher_for_all_and_takes_equal_steps(
    tiny_config, tiny_data, ids, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    trained = []
    real = train.train
    monkeypatch.setattr(train, "train", lambda job: trained.append(job.name) or real(job))

    def in_this_process(run):
        pipeline.run(resolve.run(run.config), run.workdir)
        return types.SimpleNamespace(poll=lambda: 0, pid=0)

    monkeypatch.setattr(engine, "_process", in_this_process)
    plain = tiny_config(tiny_data)
    config = train_toys(plain.copy_and_resolve_references())
    config.data.labelled_ids, config.evaluate.boundary_ratio = str(ids), 0.0
    workdir = tmp_path / "w"

    def once():
        study = methods.study(config, "base", ("csst",), (0,), workdir)
        return command.run(study, workdir, lambda _: (plain, config))

    assert once() == 0
    assert trained == ["teacher", "student", "teacher"], "masks alone is the student's teacher; the other is the oracle"
    told = capsys.readouterr().out
    assert "csst, seed 0: started, takes teacher of masks_alone, seed 0 and teacher/evaluation of" in told
    lines = [[cell.strip() for cell in line.split("|")][1:-1] for line in told.splitlines() if line[:2] == "| "]
    table = {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[2:]}
    assert set(table) == {"masks_alone", "csst", "oracle"}
    assert {row["steps"] for row in table.values()} == {"4"}
    assert table["csst"]["before"] == "4" and table["oracle"]["before"] == "–"
    assert (workdir / "study.md").exists() and (workdir / "study.svg").exists()
    assert once() == 0 and len(trained) == 3, "a finished comparison is read"
