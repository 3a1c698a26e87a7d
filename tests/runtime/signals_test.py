"""SIGTERM: the flag inside a stage, the exception outside."""

import gc
import os
import signal
import sys
import threading
import time

import pytest

from csst_jax.data.stored import store
from csst_jax.runtime import signals
from csst_jax.runtime.signals import Preempted, StopRequest


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
    signals.stop_between_stages()
    try:
        where()
        with pytest.raises(Preempted):
            time.sleep(5)
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_sigterm_is_not_taken_for_a_failed_read():
    """Reads are tried again whatever they raise (csst_jax/data/stored/store.py)."""

    class Records(list):
        def __getitem__(self, record):
            signal.raise_signal(signal.SIGTERM)

    source = store.Reader(Records([0]), [("a/x-00000", 1)], ["u"])
    previous = signal.getsignal(signal.SIGTERM)
    signals.stop_between_stages()
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
