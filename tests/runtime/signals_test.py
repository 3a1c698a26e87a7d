"""SIGTERM and Ctrl-C: the flag inside a stage, the exception outside."""

import gc
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from csst_jax.data import store
from csst_jax.runtime import signals
from csst_jax.runtime.signals import Preempted, StopRequest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@pytest.fixture(autouse=True)
def handlers_are_put_back(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in previous.items():
        signal.signal(number, handler)


@BOTH
def test_a_signal_raises_the_flag_inside_and_only_there(number):
    seen = []
    signal.signal(number, lambda *_: seen.append("outer"))
    with pytest.raises(Preempted), StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested and not seen
        raise stop.preempted("teacher", "saved step 3")
    assert not seen
    os.kill(os.getpid(), number)
    assert seen == ["outer"]


def test_a_launcher_can_ask_for_a_status_that_tells_a_stopped_run(monkeypatch):
    monkeypatch.setenv(signals.STOPPED_STATUS, "143")
    statuses = [signals.Preempted("stopped", number).status for number in (signal.SIGTERM, signal.SIGINT)]
    assert statuses == [143, 130]


@pytest.mark.parametrize("number,name,status", [(signal.SIGTERM, "SIGTERM", 0), (signal.SIGINT, "Ctrl-C", 130)])
def test_what_stopped_a_run_is_in_its_words_and_its_status(number, name, status):
    with StopRequest() as stop:
        os.kill(os.getpid(), number)
        stopped = stop.preempted("teacher", "saved step 3")
        signal.signal(number, signal.SIG_IGN)
        stop._previous.clear()
        stop._number = None
    assert str(stopped) == f"teacher: {name}; saved step 3." and stopped.status == status
    assert (
        str(stop.preempted("teacher", "saved step 3")) == "teacher: SIGTERM; saved step 3."
    )  # another process was told


def test_a_program_in_the_background_goes_on_ignoring_ctrl_c():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals.stop_between_stages()
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
    assert not stop.requested and signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_ctrl_c_that_is_handed_on_once_more_is_the_same():
    """As by a program that started this one, and has it from the terminal, too."""
    signals.stop_between_stages()
    with pytest.raises(Preempted, match="Ctrl-C: all that is finished is kept"):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGINT)


# In a call of C's, as a compilation is: no handler of Python's can run.
_STUCK = """
import hashlib
from csst_jax.runtime import signals
signals.stop_between_stages()
with signals.StopRequest():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""


def test_the_second_ctrl_c_ends_at_once_without_a_traceback():
    process = subprocess.Popen(
        [sys.executable, "-c", _STUCK], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        time.sleep(1.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
        assert process.stdout.read() == b""
    finally:
        process.kill()
        process.stdout.close()


def test_a_program_with_nothing_to_save_ends_with_a_line():
    program = "from csst_jax.runtime import signals; import signal; signals.tell_interruption(); "
    program += "signal.raise_signal(signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (130, -signal.SIGINT) and done.stderr == "Stopped by Ctrl-C.\n"


@pytest.mark.parametrize("more", ["print(1, flush=True)", "raise BrokenPipeError"])
def test_a_reader_that_has_ended_is_told_in_a_line(more):
    program = f"from csst_jax.runtime import signals; signals.tell_interruption(); {more}"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        told = process.stderr.read()
    assert process.returncode == 1
    assert told == "Stopped: the program that read this output has ended (a broken pipe).\n"
    there = subprocess.run([sys.executable, "-c", f"{program}; raise BrokenPipeError"], cwd=ROOT, capture_output=True)
    assert b"Traceback" in there.stderr, "another pipe is meant"


TOLD = [signal.SIGTERM]


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
    os.kill(os.getpid(), TOLD[0])
    time.sleep(0.01)  # the handler runs here


@BOTH
@pytest.mark.parametrize("where", [dies, thrown_away, pytest.param(collects, marks=pytest.mark.slow)])
def test_a_signal_is_not_lost_where_python_ignores_exceptions(where, number, monkeypatch):
    monkeypatch.setitem(globals(), "TOLD", [number])
    signals.stop_between_stages()
    where()
    with pytest.raises(Preempted) as stopped:
        time.sleep(5)
    assert stopped.value.number == number


@BOTH
def test_a_signal_is_not_taken_for_a_failed_read(number):
    """Reads are tried again whatever they raise (csst_jax/data/store.py)."""

    class Records(list):
        def __getitem__(self, record):
            signal.raise_signal(number)

    source = store.Reader(Records([0]), [("a/x-00000", 1)], ["u"])
    signals.stop_between_stages()
    with pytest.raises(Preempted):
        source.label_bytes(0)


@BOTH
def test_request_that_came_too_late_is_delivered_again(number):
    seen = []
    signal.signal(number, lambda *_: seen.append("outer"))
    with StopRequest():
        os.kill(os.getpid(), number)
    assert seen == ["outer"]
    with pytest.raises(ValueError, match="mine"), StopRequest():  # an error is not hidden by it
        os.kill(os.getpid(), number)
        raise ValueError("mine")
    assert seen == ["outer"]


def test_other_threads_do_without():
    requests = []

    def work():
        with StopRequest() as stop:
            requests.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert requests == [False]
