"""What a run's status says, from files alone."""

import fcntl
import json
import os
import shutil
import time

import pytest

from csst_jax import status
from tests.reporting import made_workdir


@pytest.fixture
def workdir(tmp_path):
    found = made_workdir.whole(tmp_path / "run")
    made_workdir.put(found / "pseudo_labels" / "stage.json", {})
    (found / "log.txt").write_text("10:00:00 begun\n10:00:05 student 40/40\n")
    (found / ".lock").write_text("4711\n")
    return found


def unfinished(workdir):
    (workdir / "student" / "DONE").unlink()
    shutil.rmtree(workdir / "student" / "evaluation")
    (workdir / "results.json").unlink()


def states(found):
    return {name: stage["state"] for name, stage in found["stages"].items()}


def test_a_finished_run(workdir):
    found = status.status(workdir)
    assert found["state"] == "finished" and set(states(found).values()) == {"done"}
    assert found["stages"]["teacher"]["step"] == found["stages"]["teacher"]["steps"] == 40


def test_a_stopped_run_names_what_goes_on(workdir):
    unfinished(workdir)
    found = status.status(workdir)
    assert found["state"] == "stopped" and found["holder"] is None
    assert states(found) == {"teacher": "done", "pseudo_labels": "done", "student": "stopped", "evaluate": "waiting"}
    said = status.words(found)
    assert ": stopped since 20" in said and "; the same command continues it\n" in said and "student 40/40" in said


def test_a_run_that_an_error_ended_does_not_go_on_by_itself(workdir):
    unfinished(workdir)
    with (workdir / "log.txt").open("a", encoding="utf-8") as log:
        log.write("14:00:00 error: data/mine/1.0.0: no split 'test'\n")
    said = status.words(status.status(workdir))
    assert "; an error ended it\n" in said and said.endswith("ago: 14:00:00 error: data/mine/1.0.0: no split 'test'")


def test_stages_may_be_listed_with_spaces(workdir):
    unfinished(workdir)
    plain = status.status(workdir)
    config = json.loads((workdir / "config.json").read_text())
    made_workdir.put(workdir / "config.json", {**config, "stages": "teacher, label, student , evaluate"})
    assert states(status.status(workdir)) == states(plain)


def test_rounds_without_a_student_end_with_the_first_labels(workdir):
    made_workdir.put(workdir / "config.json", {"stages": "teacher,label", "rounds": 3})
    shutil.rmtree(workdir / "student")
    (workdir / "rounds" / "1").mkdir(parents=True)
    labels = shutil.move(workdir / "pseudo_labels", workdir / "rounds" / "1" / "pseudo_labels")
    done = json.loads((labels / "DONE").read_text())
    made_workdir.put(labels / "DONE", done | {"settings": {}, "teacher_sha256": "", "labels_sha256": ""})
    found = status.status(workdir)
    assert found["state"] == "finished" and list(found["stages"]) == ["teacher", "rounds/1/pseudo_labels"]


def test_a_running_one_is_held_and_a_silent_one_is_told(workdir):
    unfinished(workdir)
    with (workdir / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = status.status(workdir)
        assert found["state"] == "running" and found["holder"] == "process 4711"
        assert found["stages"]["student"]["state"] == "running" and found["stages"]["student"]["step"] == 40
        late = status.status(workdir, now=time.time() + 900)
        assert late["state"] == "silent" and "running, but silent" in status.words(late)
        assert found["since"] == pytest.approx(os.stat(workdir / "student" / "plan.json").st_mtime)


def test_a_run_that_has_only_begun(tmp_path):
    made_workdir.begun(tmp_path)
    assert set(states(status.status(tmp_path)).values()) == {"waiting"}


def test_a_claim_in_a_bucket_is_as_old_as_its_object(bucket):
    from csst_jax.runtime.storage import as_path

    path = as_path("gs://bucket/run")
    (path / "config.json").write_text(json.dumps({"stages": "teacher"}))
    (path / ".lock").write_text(json.dumps({"run": "a", "host": "tpu-0", "process": 7, "count": 1}))
    (path / "teacher" / "stage.json").write_text("{}")
    found = status.status("gs://bucket/run")
    assert found["state"] == "running" and found["holder"] == "process 7 on tpu-0"
    assert status.status("gs://bucket/run", now=time.time() + 90)["state"] == "stopped"


def test_command(workdir, tmp_path, capsys):
    assert status.main([f"--workdir={workdir}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "finished"
    assert status.main([f"--workdir={workdir}"]) == 0
    assert capsys.readouterr().out.startswith(f"{workdir}: finished since 20")
    assert status.main([f"--workdir={tmp_path / 'none'}"]) == 2
    assert "is no workdir of a run" in capsys.readouterr().err
