"""The stop request and the rates of the progress line."""

import gc
import os
import signal
import sys
import threading
import time

import pytest

from csst_jax.data import store
from csst_jax.train import progress
from csst_jax.train.progress import Preempted, Progress, StopRequest
from csst_jax.types import Phase


def test_sigterm_raises_the_flag_inside_and_only_there():
    seen = []
    previous = signal.signal(signal.SIGTERM, lambda *_: seen.append("outer"))
    try:
        with pytest.raises(Preempted), StopRequest() as stop:
            assert not stop.requested
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.requested and not seen
            raise Preempted("saved")
        assert not seen
        os.kill(os.getpid(), signal.SIGTERM)
        assert seen == ["outer"]
    finally:
        signal.signal(signal.SIGTERM, previous)


def dies():
    class Dying:
        def __del__(self):
            told()

    Dying()


def thrown_away():
    def generator():
        try:
            yield
        finally:
            told()

    next(generator())


def collects():
    def callback(phase, info):
        del info
        if phase == "stop":
            told()

    gc.callbacks.append(callback)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(callback)


def told():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)  # the handler runs here


@pytest.mark.parametrize("where", [dies, thrown_away, pytest.param(collects, marks=pytest.mark.slow)])
def test_sigterm_is_not_lost_where_python_ignores_exceptions(where, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    previous = signal.getsignal(signal.SIGTERM)
    progress.stop_between_stages()
    try:
        where()
        with pytest.raises(Preempted):
            time.sleep(5)
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_sigterm_is_not_taken_for_a_failed_read():
    """Reads are tried again whatever they raise (csst_jax/data/store.py)."""

    class Records(list):
        def __getitem__(self, record):
            signal.raise_signal(signal.SIGTERM)

    source = store.Source(Records([0]), [("a/x-00000", 1)], ["u"])
    previous = signal.getsignal(signal.SIGTERM)
    progress.stop_between_stages()
    try:
        with pytest.raises(Preempted):
            source.label_bytes(0)
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_request_that_came_too_late_is_delivered_again():
    seen = []
    previous = signal.signal(signal.SIGTERM, lambda *_: seen.append("outer"))
    try:
        with StopRequest():
            os.kill(os.getpid(), signal.SIGTERM)
        assert seen == ["outer"]
        with pytest.raises(ValueError, match="mine"), StopRequest():  # an error is not hidden by it
            os.kill(os.getpid(), signal.SIGTERM)
            raise ValueError("mine")
        assert seen == ["outer"]
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_other_threads_do_without():
    requests = []

    def work():
        with StopRequest() as stop:
            requests.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert requests == [False]


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
