"""Launchers start again what was stopped, hand SIGTERM on, and tell failures; on stand-ins for what they start."""

import os
import pathlib
import signal
import subprocess

import pytest

# Each test starts shells and stand-ins; tests/runtime/startup_test.py has the essential one.
pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).resolve().parents[2]

# A stand-in does what the next line of its plan says, and notes how it was started.
STAND_IN = """#!/usr/bin/env bash
name=$(basename "$0")
echo "$name [${CSST_PROCESS_ID:-}${CSST_COORDINATOR:+ $CSST_COORDINATOR}] $*" >> "$NOTES"
plan="$PLANS/$name${CSST_PROCESS_ID:-}"
[ -s "$plan" ] || exit 0
line=$(head -n 1 "$plan")
sed -i 1d "$plan"
eval "$line"
"""
FINISH = 'touch "$WORKDIR/results.json"'
STOPPED = "exit $CSST_STOPPED_STATUS"
UNTIL_SIGTERM = f"trap '{STOPPED}' TERM; echo ready; while true; do sleep 0.02; done"


class Machine:
    """Programs with plans on PATH, and what was started."""

    def __init__(self, directory):
        self.workdir, self.notes, self.plans = directory / "work", directory / "notes", directory / "plans"
        self.programs = directory / "bin"
        for path in (self.workdir, self.plans, self.programs):
            path.mkdir()
        self.environment = {
            **os.environ,
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "PYTHON": "trainer",
            "NOTES": str(self.notes),
            "PLANS": str(self.plans),
            "WORKDIR": str(self.workdir),
        }

    def plan(self, name, *lines, process=""):
        program = self.programs / name
        program.write_text(STAND_IN)
        program.chmod(0o755)
        (self.plans / f"{name}{process}").write_text("".join(f"{line}\n" for line in lines))

    def start(self, *words, **environment):
        return subprocess.Popen(
            ["bash", str(ROOT / "launch" / words[0]), *words[1:]],
            env={**self.environment, **environment},
            # Tests that run in a shell's background ignore it, and so would bash.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words, **environment):
        process = self.start(*words, **environment)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def started(self, name):
        """How the program was started, each time."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def flags(machine):
    return ["--config=c.py", f"--workdir={machine.workdir}"]


def test_a_stopped_run_is_started_again_until_it_is_finished(machine):
    machine.plan("trainer", STOPPED, STOPPED, FINISH)
    assert machine.run("local.sh", *flags(machine)) == (0, "")
    assert machine.started("trainer") == [f"[] -m csst_jax.main --config=c.py --workdir={machine.workdir}"] * 3


@pytest.mark.parametrize("launcher", [("tpu_vm.sh", "run"), ("gke.sh",)])
def test_hosts_of_a_slice_need_a_workdir_that_all_of_them_see(machine, launcher):
    status, output = machine.run(*launcher, "--workdir=runs/mine", IMAGE="image")
    assert status == 2 and "give --workdir=gs://BUCKET/" in output


def test_a_failure_is_not_tried_again(machine):
    machine.plan("trainer", "echo error: fix it >&2; exit 2", FINISH)
    assert machine.run("local.sh", *flags(machine)) == (2, "error: fix it\n")
    assert len(machine.started("trainer")) == 1


def test_a_run_is_finished_when_it_says_so_and_not_by_an_old_file(machine):
    machine.plan("trainer", "exit 0", "exit 0")
    assert machine.run("local.sh", *flags(machine), "--config.stages", "teacher")[0] == 0
    assert len(machine.started("trainer")) == 1 and not (machine.workdir / "results.json").exists()
    (machine.workdir / "results.json").touch()
    machine.plan("trainer", UNTIL_SIGTERM)
    launcher = machine.start("local.sh", *flags(machine))
    assert launcher.stdout.readline() == "ready\n"
    launcher.terminate()
    launcher.communicate(timeout=30)
    assert launcher.returncode == 143


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_is_handed_on_and_ends_the_launcher_with_its_own_status(machine, sent):
    machine.plan("trainer", UNTIL_SIGTERM, FINISH)
    launcher = machine.start("local.sh", *flags(machine))
    assert launcher.stdout.readline() == "ready\n"
    launcher.send_signal(sent)
    launcher.communicate(timeout=30)
    assert launcher.returncode == 143 and len(machine.started("trainer")) == 1


def test_sigterm_waits_for_the_save_and_a_run_that_then_finishes_is_a_success(machine):
    machine.plan("trainer", f"trap 'sleep 0.5; {FINISH}; exit 0' TERM; echo ready; while true; do sleep 0.02; done")
    launcher = machine.start("local.sh", *flags(machine))
    assert launcher.stdout.readline() == "ready\n"
    launcher.terminate()
    launcher.communicate(timeout=30)
    assert launcher.returncode == 0 and (machine.workdir / "results.json").exists()


def test_processes_know_their_number_and_the_worst_status_is_told(machine):
    machine.plan("trainer", FINISH, process=0)
    machine.plan("trainer", "exit 3", process=1)
    status, _ = machine.run("local_multiprocess.sh", "2", *flags(machine), CSST_COORDINATOR="127.0.0.1:5")
    assert status == 3
    begun = sorted(line.partition("]")[0] for line in machine.started("trainer"))
    assert begun == ["[0 127.0.0.1:5", "[1 127.0.0.1:5"]


def test_sigterm_reaches_all_processes(machine):
    for process in range(2):
        machine.plan("trainer", UNTIL_SIGTERM, process=process)
    launcher = machine.start("local_multiprocess.sh", "2", *flags(machine))
    assert [launcher.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    launcher.terminate()
    launcher.communicate(timeout=30)
    assert launcher.returncode == 143


def actions(machine):
    """gcloud's verbs, in order."""
    verbs = ("create", "delete", "scp", "ssh", "describe")
    return [next(word for word in line.split() if word in verbs) for line in machine.started("gcloud")]


def test_a_preempted_slice_is_made_again_and_the_run_goes_on(machine):
    machine.plan(
        "gcloud",
        "exit 255",  # ssh: the connection broke
        "echo PREEMPTED",
        "exit 0",  # delete
        "exit 0",  # create
        "echo PROVISIONING",
        "echo ACTIVE",
        "exit 0",  # scp
        "exit 0",  # ssh, install
        "exit 0",  # ssh, run
    )
    for name in ("git", "rm", "sleep"):
        machine.plan(name)
    status, output = machine.run("tpu_vm.sh", "run", "--workdir=gs://my-bucket/w")
    assert status == 0 and "was preempted: making it again" in output
    made = ["delete", "create", "describe", "describe", "scp", "ssh"]
    assert actions(machine) == ["ssh", "describe", *made, "ssh"]
    first, last = machine.started("gcloud")[0], machine.started("gcloud")[-1]
    assert first == last and "launch/local.sh --workdir=gs://my-bucket/w" in first


def test_a_run_that_fails_on_a_slice_that_is_there_is_a_failure(machine):
    machine.plan("gcloud", "exit 2", "echo READY")
    machine.plan("sleep")
    assert machine.run("tpu_vm.sh", "run", "--workdir=gs://my-bucket/w")[0] == 2
    assert actions(machine) == ["ssh", "describe"]


def test_a_slice_that_cannot_be_had_is_an_error(machine):
    machine.plan("gcloud", "exit 0", "echo FAILED")
    status, output = machine.run("tpu_vm.sh", "create")
    assert status == 2 and "error: queued resource csst is FAILED" in output


@pytest.mark.parametrize("status,finished,requeued", [(143, False, True), (2, False, False), (0, True, False)])
def test_slurm_queues_what_was_stopped_again_and_nothing_else(machine, status, finished, requeued):
    machine.plan("srun", f"{FINISH}; exit {status}" if finished else f"exit {status}")
    machine.plan("scontrol")
    got, _ = machine.run("slurm.sh", *flags(machine), SLURM_JOB_ID="7", SLURM_GPUS_ON_NODE="4", CSST_PROCESS_ID="")
    assert machine.started("scontrol") == (["[ auto] requeue 7"] if requeued else [])
    assert got == (0 if requeued else status)
    assert machine.started("srun") == [f"[ auto] --cpus-per-task=32 launch/local.sh {' '.join(flags(machine))}"]


def test_slurm_gives_each_process_all_gpus_of_its_node(machine):
    machine.plan("srun", 'echo "gpus $JAX_LOCAL_DEVICE_IDS"')
    _, output = machine.run("slurm.sh", *flags(machine), SLURM_GPUS_ON_NODE="4")
    assert output == "gpus 0,1,2,3\n"


def test_flags_of_the_environment_win(machine):
    machine.plan("trainer", f'echo "$XLA_FLAGS"; {FINISH}')
    _, output = machine.run("local.sh", *flags(machine), XLA_FLAGS="--xla_gpu_enable_latency_hiding_scheduler=false")
    words = output.split()
    assert len(words) == 2 and words[-1] == "--xla_gpu_enable_latency_hiding_scheduler=false"
