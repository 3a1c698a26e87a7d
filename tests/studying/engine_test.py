"""The grid runs once, goes on, shares, and survives what fails; processes are stood in for, but for one test."""

import dataclasses
import json
import os
import signal
import sys
import threading
import time

import pytest

from csst_jax.runtime.signals import Preempted
from csst_jax.settings import recorded
from csst_jax.studying import arms, engine, sharing
from csst_jax.studying.arms import Arm
from csst_jax.types import CsstError
from tests.studying import grid
from tests.studying.grid import Made


def run_all(runs, start, jobs=1):
    written = []
    failed = engine.run_all(runs, jobs, lambda: written.append(1), start=start, look_every_s=0.0)
    return [run.name for run in failed], len(written)


def test_each_run_once_and_a_second_time_none(tmp_path, capsys):
    runs, start = grid.runs(tmp_path), Made(lambda run: 0.5)
    assert run_all(runs, start) == ([], 7) and start.started == [run.name for run in runs]
    again = Made(lambda run: 0.5)
    assert run_all(grid.runs(tmp_path), again) == ([], 1) and again.started == []
    assert "6 of 6 runs are finished already." in capsys.readouterr().out


def test_a_failed_run_is_named_with_its_log_the_others_go_on_and_it_is_tried_again(tmp_path, capsys):
    runs = grid.runs(tmp_path)
    failed, _ = run_all(runs, Made(lambda run: None if run.name == "student, seed 0" else 0.5))
    assert failed == ["student, seed 0"]
    told = capsys.readouterr().out
    assert f"FAILED, ended with status 2 (the disk is full.); its log is {runs[1].workdir / 'output.txt'}" in told
    again = Made(lambda run: 0.5)
    assert run_all(runs, again)[0] == [] and again.started == ["student, seed 0"]


def test_a_run_that_was_told_to_stop_is_not_taken_for_finished(tmp_path):
    process = lambda run: type("Ended", (), {"poll": staticmethod(lambda: 0)})  # noqa: E731
    assert run_all(grid.runs(tmp_path)[:1], process)[0] == ["alone, seed 0"]


def test_a_finished_run_of_other_settings_is_refused(tmp_path):
    run_all(grid.runs(tmp_path), Made(lambda run: 0.5))
    other = (Arm("alone", {"stages": "teacher,evaluate", "teacher.epochs": 7, "input.prefetch": 1}),)
    with pytest.raises(CsstError, match=r"alone, seed 0 is finished .* What differs: .*7 now.* delete"):
        run_all(grid.runs(tmp_path, grid.study(arms=other)), Made(lambda run: 0.5))


def test_a_run_that_was_started_by_hand_is_not_taken_for_other_settings(tmp_path):
    """As --dry_run prints it; sizes that it chose itself, and what changes no score, may differ."""

    def left(directory, **changes):
        arm = (Arm("alone", {"stages": "teacher,evaluate", "teacher.crop_px": -1}),)
        run = grid.runs(directory, grid.study(arms=arm, seeds=(0,)))[0]
        run.workdir.mkdir(parents=True)
        grid.leave(run, 0.5)
        config = recorded.with_whole_paths(run.config)
        config.update_from_flattened_dict({"teacher.crop_px": 96, "input.prefetch": 1} | changes)
        (run.workdir / "config.json").write_text(json.dumps(config.to_dict()))
        return run_all([run], Made(lambda run: 0.5))

    assert left(tmp_path / "same") == ([], 1)
    with pytest.raises(CsstError, match=r"alone, seed 0 is finished .* What differs: teacher.epochs: 7 there"):
        left(tmp_path / "other", **{"teacher.epochs": 7})


def test_a_finished_run_with_a_rule_of_its_optimizer_is_the_same_again(tmp_path):
    """JSON gives the tuples in a tuple back as lists."""
    arms_ = (Arm("alone", {"stages": "teacher,evaluate", "teacher.optimizer.rate_factors": (("^backbone", 0.1),)}),)
    runs = grid.runs(tmp_path, grid.study(arms=arms_))
    run_all(runs, Made(lambda run: 0.5))
    again = Made(lambda run: 0.5)
    assert run_all(runs, again)[0] == [] and again.started == []


def test_what_two_runs_have_in_common_is_made_once(tmp_path):
    runs = grid.runs(tmp_path)
    begun = {}

    def start(run):
        begun[run.name] = sorted(path.name for path in run.workdir.iterdir() if path.is_dir())
        return Made(lambda run: 0.5)(run)

    run_all(runs, start)
    assert begun["alone, seed 0"] == [] and begun["student, seed 0"] == ["teacher"] == begun["student, seed 1"]
    assert begun["one stage, seed 0"] == []
    alone, student = runs[0].workdir / "teacher" / "DONE", runs[1].workdir / "teacher" / "DONE"
    assert alone.stat().st_ino == student.stat().st_ino, "a second name of the same bytes"


def test_a_stage_that_a_run_has_begun_gives_way_to_a_finished_one(tmp_path):
    alone, student = grid.runs(tmp_path)[:2]
    (student.workdir / "teacher" / "checkpoints").mkdir(parents=True)
    grid.leave(alone, 0.5)
    (alone.workdir / "teacher" / "evaluation").mkdir()
    (alone.workdir / "teacher" / "evaluation" / "DONE").touch()
    for passing in (".model.safetensors.4711.tmp", "elapsed.json"):  # they may be gone before they are linked
        (alone.workdir / "teacher" / passing).touch()
    told = sharing.link(student, [alone, student])
    assert told == ["teacher of alone, seed 0", "teacher/evaluation of alone, seed 0"]
    left = sorted(path.relative_to(student.workdir).as_posix() for path in student.workdir.rglob("*"))
    assert left == ["teacher", "teacher/DONE", "teacher/evaluation", "teacher/evaluation/DONE"]
    assert sharing.link(student, [alone, student]) == [], "once"


def test_pairs_ask_for_the_same_in_every_key_that_counts(tmp_path):
    def keys(**changes):
        own = grid.study(arms=(Arm("a", {k.replace("__", "."): v for k, v in changes.items()}),), reference="")
        return sharing.keys(grid.runs(tmp_path, own)[0])

    first = keys()
    assert set(first) == {"teacher", "pseudo_labels", "teacher/evaluation"}
    assert keys(student__epochs=3, input__prefetch=1) == first
    assert keys(teacher__method__mean_teacher__weight=3.0) == first, "of a method that is not chosen"
    assert not set(keys(teacher__epochs=3).values()) & set(first.values())
    assert not set(keys(data__labelled_ids="x").values()) & set(first.values())
    assert keys(label__flip=True)["teacher"] == first["teacher"]
    assert keys(label__flip=True)["pseudo_labels"] != first["pseudo_labels"]
    assert keys(evaluate__flip=True)["teacher/evaluation"] != first["teacher/evaluation"]
    assert keys(rounds=2) == {stage: key for stage, key in first.items() if stage != "pseudo_labels"}
    assert keys(teacher__crop_px=-1) == {}, "sizes are chosen by each run"
    seeds = grid.runs(tmp_path)[:4:3]
    assert [run.seed for run in seeds] == [0, 1] and sharing.keys(seeds[0]) != sharing.keys(seeds[1])


def test_several_at_a_time_wait_for_a_teacher_that_is_being_trained(tmp_path):
    runs, order, alive = grid.runs(tmp_path), [], []

    class Process:
        def __init__(self, run):
            self.run, self.looks = run, 0
            order.append(run.name)
            alive.append(run.name)
            assert len(alive) <= 2
            self.pid = 0

        def poll(self):
            self.looks += 1
            if self.looks < 3:
                return None
            if self.run.name in alive:
                alive.remove(self.run.name)
                grid.leave(self.run, 0.5)
            return 0

    assert run_all(runs, Process, jobs=2)[0] == []
    assert order[:2] == ["alone, seed 0", "one stage, seed 0"] and order[2] == "student, seed 0"


SAVES = """
import signal, sys, time, pathlib
def leave(number, frame):
    pathlib.Path(sys.argv[1], "saved").write_text(str(number)); sys.exit(130)
signal.signal(signal.SIGINT, leave)
print("begun", flush=True)
pathlib.Path(sys.argv[1], "up").touch()
time.sleep(60)
"""


@pytest.mark.slow
def test_ctrl_c_is_handed_on_and_waits_until_all_have_saved(tmp_path):
    first = grid.runs(tmp_path)[0]
    command = (sys.executable, "-S", "-c", SAVES, str(first.workdir))

    def interrupt(number, frame):
        raise Preempted("Ctrl-C", signal.SIGINT)

    def later():
        while not (first.workdir / "up").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        threading.Thread(target=later, daemon=True).start()
        with pytest.raises(Preempted):
            engine.run_all([dataclasses.replace(first, command=command)], 1, lambda: None, look_every_s=0.02)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (first.workdir / "saved").read_text() == str(int(signal.SIGINT))
    assert (first.workdir / "output.txt").read_text() == "begun\n"


def test_a_run_without_its_configuration_is_taken_as_it_is_and_other_data_is_refused(tmp_path, tiny_data):
    run = grid.runs(tmp_path)[0]
    run.config.data.dir = str(tiny_data)
    grid.leave(run, 0.5)
    (run.workdir / "run.json").write_text('{"data": {}}')  # of the run itself
    assert engine.run_all([run], 1, lambda: None) == [] and engine.noted(run) == {}
    for name in ("asked.json", "run.json"):  # the latter is of earlier versions
        noted = {"asked": engine._jsonable(run.asked()), "data_sha256": "other"}
        (run.workdir / name).write_text(json.dumps(noted))
        with pytest.raises(CsstError, match="was prepared anew since"):
            engine.run_all([run], 1, lambda: None)
        (run.workdir / name).unlink()


def test_a_finished_run_stays_the_same_when_its_list_of_ids_moves_and_is_refused_when_the_list_changes(tmp_path):
    here, there = tmp_path / "here.txt", tmp_path / "there.txt"
    here.write_text("1\n2\n")

    def runs(ids):
        found = grid.runs(tmp_path / "study")[:1]
        found[0].config.data.labelled_ids = str(ids)
        return found

    run_all(runs(here), Made(lambda run: 0.5))
    here.rename(there)
    again = Made(lambda run: 0.5)
    assert run_all(runs(there), again) == ([], 1) and again.started == []
    with pytest.raises(CsstError, match=r"data\.labelled_ids"):
        run_all(runs(tmp_path / "elsewhere.txt"), again)
    for path in (here, there):
        path.write_text("1\n3\n")
        with pytest.raises(CsstError, match=r"data\.labelled_ids"):
            run_all(runs(path), again)


def test_asked_json_holds_command_and_versions_and_leaves_the_runs_own_record(tmp_path):
    runs = grid.runs(tmp_path)[:1]
    run_all(runs, Made(lambda run: 0.5))
    assert not (runs[0].workdir / "run.json").exists()
    kept = json.loads((runs[0].workdir / "asked.json").read_text(encoding="utf-8"))
    assert kept["command"] == list(runs[0].command) and kept["versions"]["jax"]
    assert arms.shown(runs[0].command).startswith("python -m csst_jax.main --config=base")
