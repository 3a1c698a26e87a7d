"""Signals are heard while work in C code is waited for."""

import os
import signal
import threading
import time

import pytest

from csst_jax.runtime.interruptible import interruptible


class Stop(BaseException):
    """What the handler raises."""


@pytest.fixture(autouse=True)
def handler():
    def stop(*_):
        raise Stop

    before = signal.signal(signal.SIGUSR1, stop)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_what_the_work_returns_and_raises_comes_back():
    assert interruptible(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)
    with pytest.raises(SystemExit):
        interruptible(lambda: exit(1))


def test_a_signal_is_heard_in_the_middle_of_the_work():
    let_go = threading.Event()

    def work():
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        let_go.wait(60)  # as C code does, it does not look for signals: this is another thread

    begin = time.monotonic()
    with pytest.raises(Stop):
        interruptible(work)
    assert time.monotonic() - begin < 10
    let_go.set()


def test_other_threads_work_by_themselves():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(interruptible(threading.current_thread)))
    thread.start()
    thread.join()
    assert seen == [thread]
