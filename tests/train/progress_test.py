"""The rates of the progress line."""

import logging

from csst_jax.train import progress
from csst_jax.train.progress import Progress
from csst_jax.types import Phase


def test_compilation_is_no_part_of_the_rate(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    phase = Phase(32, 4, 100)
    shown = Progress("teacher", [phase], start_step=0)
    now[0] = 60.0
    shown.paused(58.0)  # for two seconds of training
    shown.stepped(phase)
    rates = shown.line(1, phase, {"loss": 1.0, "learning_rate": 0.1})
    assert rates["left_s"] == 2.0 * 99 and rates["images_per_s"] == 2.0


def test_slow_steps_are_told_between_two_lines(monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="csst_jax")
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    phase = Phase(32, 4, 100)
    shown = Progress("teacher", [phase], start_step=4)
    for _ in range(6):
        now[0] += 2.0
        shown.stepped(phase)
    assert [record.getMessage() for record in caplog.records] == ["teacher 7/100", "teacher 10/100"]


def test_time_left_follows_the_last_lines(monkeypatch):
    """The first steps share the cores with the compiler."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    phase = Phase(32, 4, 100)
    shown = Progress("teacher", [phase], start_step=0)
    for step in range(1, 21):
        now[0] += 5.0 if step <= 10 else 1.0
        shown.stepped(phase)
        rates = shown.line(step, phase, {"loss": 1.0, "learning_rate": 0.1})
    assert rates["left_s"] == 80.0


def test_time_left_goes_by_pixels(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    phases = [Phase(32, 4, 2), Phase(64, 4, 2)]
    shown = Progress("teacher", phases, start_step=0)
    now[0] = 10.0
    shown.stepped(phases[0])
    shown.waited(2.5)
    rates = shown.line(1, phases[0], {"loss": 1.0, "learning_rate": 0.1})
    assert rates == {"images_per_s": 0.4, "input_wait_share": 0.25, "left_s": 10.0 * (1 + 4 + 4)}
    now[0] = 12.0
    shown.stepped(phases[0])
    rates = shown.line(2, phases[0], {"loss": 1.0, "learning_rate": 0.1})
    assert rates["images_per_s"] == 2.0 and rates["input_wait_share"] == 0.0
    resumed = Progress("teacher", phases, start_step=3)
    now[0] = 22.0
    resumed.stepped(phases[1])
    assert resumed.line(4, phases[1], {"loss": 1.0, "learning_rate": 0.1})["left_s"] == 0
    resumed = Progress("teacher", phases, start_step=1)
    now[0] = 32.0
    resumed.stepped(phases[0])
    assert resumed.line(2, phases[0], {"loss": 1.0, "learning_rate": 0.1})["left_s"] == 10.0 * (4 + 4)
