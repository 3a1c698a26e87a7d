"""One process of several is started once, again only when the others are gone, and stopped where it runs."""

import subprocess
import time

import pytest

from tests.launch.stand_ins import FINISH, ROOT, STOPPED, UNTIL_SIGTERM, flags

# Each test starts shells and stand-ins; tests/runtime/startup_test.py has the essential one.
pytestmark = pytest.mark.slow


def test_one_of_several_processes_is_started_again_when_the_others_are_gone(machine):
    machine.plan("trainer", STOPPED, FINISH)
    machine.plan("sleep")
    status, output = machine.run("local.sh", *flags(machine), CSST_COORDINATOR=str(machine.workdir))
    assert (status, output) == (0, "the run was stopped, and starts again in 15 s\n")
    assert machine.notes.read_text().split("\n")[1] == f"sleep [ {machine.workdir}] 15"
    assert len(machine.started("trainer")) == 2


def test_sigterm_ends_that_wait(machine):
    machine.plan("trainer", STOPPED, FINISH)
    launcher = machine.start("local.sh", *flags(machine), CSST_COORDINATOR=str(machine.workdir))
    assert "starts again in 15 s" in launcher.stdout.readline()
    time.sleep(0.2)
    began = time.monotonic()
    launcher.terminate()
    launcher.communicate(timeout=30)
    assert launcher.returncode == 143 and len(machine.started("trainer")) == 1 and time.monotonic() - began < 10


def test_a_process_of_a_run_is_not_started_twice(machine):
    """The second one would join the first one's coordinator, and end the run."""
    where = {"CSST_COORDINATOR": str(machine.workdir), "CSST_PROCESS_ID": ""}
    machine.plan("trainer", UNTIL_SIGTERM, "exit 0")
    launcher = machine.start("local.sh", *flags(machine), **where)
    assert launcher.stdout.readline() == "ready\n"
    status, output = machine.run("local.sh", *flags(machine), **where)
    assert status == 2 and "error: this process of the run is running on this machine already" in output
    assert machine.run("local.sh", "--dry_run", *flags(machine), **where)[0] == 0
    for other in ({"CSST_PROCESS_ID": "1"}, {"SLURM_JOB_ID": "8"}, {"CSST_COORDINATOR": f"{machine.workdir}:1"}):
        assert machine.run("local.sh", *flags(machine), **where | other) == (0, "")
    launcher.kill()  # its trainer is left
    launcher.wait()
    assert machine.run("local.sh", *flags(machine), **where)[0] == 2
    status, output = machine.run("stop.sh", **where)
    assert status == 0 and "stopped on" in output
    assert machine.run("local.sh", *flags(machine), **where) == (0, "")
    launcher.stdout.close()


def test_stop_reaches_the_workers_and_waits_for_the_save(machine):
    saved = f"touch {machine.workdir}/saved"
    machine.plan("trainer", f"trap 'sleep 1; {saved}; {STOPPED}' TERM; echo ready; while true; do sleep 0.02; done")
    machine.plan("gcloud", "exit 0")
    assert machine.run("tpu_vm.sh", "stop")[0] == 0
    job = {"SLURM_JOB_ID": str(machine.workdir)}  # so that no other test has this place
    remote = machine.remote().replace("cd csst_jax", f"cd {ROOT}")
    launcher = machine.start("local.sh", *flags(machine), CSST_COORDINATOR="auto", **job)
    assert launcher.stdout.readline() == "ready\n"
    done = subprocess.run(["bash", "-c", remote], env={**machine.environment, **job}, capture_output=True, text=True)
    assert done.returncode == 0 and (machine.workdir / "saved").exists(), done.stderr
    assert launcher.wait(timeout=30) == 143
    launcher.stdout.close()
    again = subprocess.run(["bash", "-c", remote], env={**machine.environment, **job}, capture_output=True, text=True)
    assert again.returncode == 0 and "nothing to stop on" in again.stdout


def test_stop_says_what_it_needs(machine):
    assert machine.run("stop.sh", CSST_COORDINATOR="")[1].startswith("error: set CSST_COORDINATOR as launch/local.sh")
