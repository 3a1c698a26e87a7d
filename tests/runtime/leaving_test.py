"""Two processes of a run, one of which leaves: neither waits for the other."""

import signal
import sys
import time

import pytest

from tests.small_runs import ROOT, free_port, start

pytestmark = pytest.mark.slow

_PROCESS = """
import os, sys, time
from csst_jax.runtime.signals import Preempted, stop_between_stages
from csst_jax.runtime import leaving, startup
from csst_jax.types import CsstError
from jax.experimental import multihost_utils

stop_between_stages()
startup.join_processes(os.environ)
with leaving.none_left_waiting():
    multihost_utils.sync_global_devices("both are there")
    print("both are there", flush=True)
    {does}
    print("went on")
"""
_WAITS = "multihost_utils.sync_global_devices('the other is there, too')"
_WORKS = "[time.sleep(0.01) for _ in range(9000)]"
_LONGEST_S = 30


def left(*does, told=None):
    """What each process printed, and its status, when one of them was `told` to stop or left by itself."""
    shared = {"CSST_COORDINATOR": f"127.0.0.1:{free_port()}", "CSST_PROCESSES": "2", "PYTHONPATH": str(ROOT)}
    processes = [
        start([sys.executable, "-c", _PROCESS.format(does=code)], **shared, CSST_PROCESS_ID=str(process))
        for process, code in enumerate(does)
    ]
    try:
        for process in processes:
            assert any("both are there" in line for line in iter(process.stdout.readline, ""))
        began = time.monotonic()
        if told is not None:
            processes[told].send_signal(signal.SIGTERM)
        statuses = [process.wait(timeout=2 * _LONGEST_S) for process in processes]
        assert time.monotonic() - began < _LONGEST_S
    finally:
        for process in processes:
            process.kill()
        outputs = [process.stdout.read() for process in processes]
        for process in processes:
            process.stdout.close()
    assert not any("went on" in output for output in outputs)
    return outputs, statuses


@pytest.mark.parametrize(
    "told,other",
    [
        pytest.param(0, _WAITS, id="0-waits", marks=pytest.mark.essential("processes that leave together")),
        pytest.param(0, _WORKS, id="0-works"),
        pytest.param(1, _WAITS, id="1-waits"),
        pytest.param(1, _WORKS, id="1-works"),
    ],
)
def test_both_stop_when_one_is_told(told, other):
    outputs, statuses = left(*((_WORKS, other) if told == 0 else (other, _WORKS)), told=told)
    assert statuses == [0, 0]
    for output in outputs:
        assert f"process {told}: SIGTERM: all that is finished is kept" in output
        assert "Traceback" not in output


@pytest.mark.parametrize("process", [0, 1])
def test_the_error_of_one_is_the_error_of_both(process):
    does = ["raise CsstError('no such file; give another')", _WORKS]
    outputs, statuses = left(*(does if process == 0 else does[::-1]))
    assert statuses == [2, 2]
    assert all(f"error: process {process}: no such file; give another\n" in output for output in outputs)


def test_a_bug_in_one_process_ends_both_and_its_traceback_is_there():
    outputs, statuses = left(_WORKS, "[][1]")
    assert statuses == [1, 1]
    assert "Traceback" in outputs[1]
    assert all("error: process 1: IndexError: list index out of range" in output for output in outputs)


def test_a_stop_that_was_agreed_on_is_said_by_both():
    outputs, statuses = left(*["raise Preempted('saved.')"] * 2)
    assert statuses == [0, 0]
    assert all("saved. Start all processes again to go on." in output for output in outputs)
