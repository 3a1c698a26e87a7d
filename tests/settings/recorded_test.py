"""The configuration of a run, out of its workdir."""

import json

import pytest
from absl import flags

from csst_jax import command_line
from csst_jax.settings import config_file, ranges, recorded
from csst_jax.types import CsstError


@pytest.fixture
def workdir(tmp_path):
    config = ranges.defaults()
    config.data.dir = "data/mine"
    config.evaluate.scales = (0.5, 1.0)
    config.teacher.optimizer.rate_factors = (("^backbone", 0.1),)
    config.mesh.data = 8
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    return tmp_path


def test_it_is_what_the_run_was_asked_for_on_the_devices_of_here(workdir):
    config = recorded.get_config(str(workdir))
    ranges.require_sound(config)
    assert config.data.dir == "data/mine" and config.evaluate.scales == (0.5, 1.0)
    assert config.teacher.optimizer.rate_factors == (("^backbone", 0.1),)
    assert config.mesh.data == -1
    assert config_file.load(f"{recorded.__file__}:{workdir}").data.dir == "data/mine"


def test_data_is_named_by_whole_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    config = ranges.defaults()
    config.data.dir, config.data.labelled_ids = "data/mine", "../ids.txt"
    config.data.more_labelled = "~/data/a:train, gs://bucket/b:train"
    config.data.more_unlabelled = "data/c:train_extra:3000,/d:train"
    data = recorded.with_whole_paths(config).data
    assert (data.dir, data.labelled_ids) == (f"{tmp_path}/data/mine", f"{tmp_path.parent}/ids.txt")
    assert data.more_labelled == "/home/me/data/a:train,gs://bucket/b:train"
    assert data.more_unlabelled == f"{tmp_path}/data/c:train_extra:3000,/d:train"
    assert config.data.dir == "data/mine", "the run's own configuration is changed"
    config.data.dir = config.data.labelled_ids = config.data.more_labelled = ""
    (tmp_path / "a,b").mkdir()
    monkeypatch.chdir("a,b")
    data = recorded.with_whole_paths(config).data
    assert (data.dir, data.labelled_ids, data.more_labelled) == ("", "", "")
    assert data.more_unlabelled == config.data.more_unlabelled
    config.data.dir = "gs://bucket/mine"
    assert recorded.with_whole_paths(config).data.dir == "gs://bucket/mine"


def test_a_run_of_another_version_is_read(workdir, caplog):
    found = json.loads((workdir / "config.json").read_text())
    del found["start_from"], found["label"]["class_portion"]
    found["student"]["momentum"] = 0.9
    (workdir / "config.json").write_text(json.dumps(found))
    config = recorded.get_config(str(workdir))
    assert config.start_from == "" and config.label.class_portion == 0.0
    assert "student.momentum: keys of another version" in caplog.text


@pytest.mark.parametrize(
    "text,complaint",
    [
        (None, "Give the --workdir of a run"),
        ("{", "cannot read .*config.json.*Give --config=FILE"),
        ("[]", "was not written by csst_jax"),
        ('{"seed": "x"}', "--config=FILE"),
    ],
)
def test_what_is_no_configuration_is_told(tmp_path, text, complaint):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(CsstError, match=complaint):
        recorded.get_config(str(tmp_path))


def test_workdirs_stand_for_a_configuration(monkeypatch):
    seen = []
    monkeypatch.setattr(command_line, "parse_flags", lambda argv: seen.append(argv) or argv)
    ours = f"--config={recorded.__file__}:runs/a"
    for given in (["--workdir=runs/a,runs/b"], ["--workdir", "runs/a"]):
        command_line.parse_flags_of_workdir(["evaluate", *given, "--config.evaluate.flip=True"])
        assert seen.pop() == ["evaluate", ours, *given, "--config.evaluate.flip=True"]
    for given in (["--config=demo", "--workdir=runs/a"], ["--checkpoint=a"]):
        command_line.parse_flags_of_workdir(["evaluate", *given])
        assert seen.pop() == ["evaluate", *given]


@pytest.mark.parametrize(
    "command,more", [("suggest", ""), ("evaluate", " To score files of weights, give --checkpoint and --config.")]
)
def test_a_workdir_that_is_missing_is_told(monkeypatch, capsys, command, more):
    own = flags.FlagValues()
    if command == "evaluate":
        flags.DEFINE_list("checkpoint", [], "", flag_values=own)
    monkeypatch.setattr(command_line.flags, "FLAGS", own)
    with pytest.raises(SystemExit) as ended:
        command_line.parse_flags_of_workdir([command, "--config.seed=3"])
    assert ended.value.code == 2
    said = "error: --workdir is missing. Give the workdir of a run, for example --workdir=runs/mine."
    assert capsys.readouterr().err == f"{said}{more}\n"
    monkeypatch.setattr(command_line, "parse_flags", lambda argv: argv)
    assert command_line.parse_flags_of_workdir([command, "--help"]) == [command, "--help"]
