"""Two processes of a run, one of which leaves, or finishes: neither is left waiting, or ended."""

import signal
import sys
import threading
import time

import jax
import pytest

from csst_jax.runtime import leaving
from csst_jax.runtime.signals import STOPPED_STATUS, Preempted
from tests.small_runs import ROOT, free_port, start

_PROCESS = """
import functools, os, sys, time
import jax
jax.distributed.initialize = functools.partial(jax.distributed.initialize, shutdown_timeout_seconds=3)  # 300 by default
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


def ended(*does, told=None):
    """What each process printed, and its status, when one of them was `told` to stop or came to its end by itself."""
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
    return outputs, statuses


def left(*does, told=None):
    """See `ended`; none came to its end."""
    outputs, statuses = ended(*does, told=told)
    assert not any("went on" in output for output in outputs)
    return outputs, statuses


class Store:
    """As much of JAX's key-value store as is used."""

    def __init__(self):
        self.values = {}

    def key_value_set(self, key, value):
        self.values[key] = value

    def key_value_dir_get(self, prefix):
        return [(key, value) for key, value in self.values.items() if key.startswith(f"{prefix}/")]


def test_a_process_that_has_finished_waits_for_the_others(monkeypatch):
    store = Store()
    monkeypatch.setattr(leaving.ocp.multihost, "get_jax_distributed_client", lambda: store)
    monkeypatch.setattr(leaving, "_LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)

    def work():
        with leaving.none_left_waiting():
            pass

    process = threading.Thread(target=work)
    process.start()
    process.join(0.2)
    assert process.is_alive()
    store.key_value_set("csst_jax/finished/0", "")
    process.join(10)
    assert not process.is_alive() and "csst_jax/finished/1" in store.values


@pytest.mark.parametrize("command", ["main", "evaluate"])
def test_commands_of_several_processes_wait_for_all_of_them(command):
    text = (ROOT / "csst_jax" / f"{command}.py").read_text(encoding="utf-8")
    assert text.index("startup.start_jax(") < text.index("with leaving.none_left_waiting(")


@pytest.mark.parametrize("goes_on,status,then", [(True, 0, "again to continue."), (False, 143, "processes again.")])
def test_a_command_that_does_not_go_on_says_no_success_when_it_is_stopped(monkeypatch, goes_on, status, then):
    monkeypatch.delenv(STOPPED_STATUS, raising=False)
    farewell = leaving._farewell(Preempted("SIGTERM: all is kept."), goes_on)
    assert farewell.status == status and farewell.stopped and farewell.words.endswith(then)


@pytest.mark.slow
@pytest.mark.parametrize("slow", [0, 1])
def test_none_is_ended_while_another_still_works(slow):
    does = ["time.sleep(8)", "pass"]
    outputs, statuses = ended(*(does if slow == 0 else does[::-1]))
    assert statuses == [0, 0], outputs
    assert all("went on" in output for output in outputs)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("process", [0, 1])
def test_the_error_of_one_is_the_error_of_both(process):
    does = ["raise CsstError('no such file; give another')", _WORKS]
    outputs, statuses = left(*(does if process == 0 else does[::-1]))
    assert statuses == [2, 2]
    assert all(f"error: process {process}: no such file; give another\n" in output for output in outputs)


@pytest.mark.slow
def test_a_bug_in_one_process_ends_both_and_its_traceback_is_there():
    outputs, statuses = left(_WORKS, "[][1]")
    assert statuses == [1, 1]
    assert "Traceback" in outputs[1]
    assert all("error: process 1: IndexError: list index out of range" in output for output in outputs)


@pytest.mark.slow
def test_a_stop_that_was_agreed_on_is_said_by_both():
    outputs, statuses = left(*["raise Preempted('saved.')"] * 2)
    assert statuses == [0, 0]
    assert all("saved. Start all processes again to continue." in output for output in outputs)
