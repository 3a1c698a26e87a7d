"""Launchers start again what was stopped, hand SIGTERM on, and tell failures; on stand-ins for what they start."""

import signal

import pytest

from tests.launch.stand_ins import FINISH, STOPPED, UNTIL_SIGTERM, flags

# Each test starts shells and stand-ins; tests/runtime/startup_test.py has the essential one.
pytestmark = pytest.mark.slow


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
    where = str(machine.workdir)
    status, _ = machine.run("local_multiprocess.sh", "2", *flags(machine), CSST_COORDINATOR=where)
    assert status == 3
    begun = sorted(line.partition("]")[0] for line in machine.started("trainer"))
    assert begun == [f"[0 {where}", f"[1 {where}"]


def test_rehearsals_compute_on_the_cpu_unless_another_platform_is_chosen(machine):
    """Each process would take all of a GPU's memory."""
    where = str(machine.workdir)
    for asked, platform in (("", "cpu"), ("cuda", "cuda")):
        machine.plan("trainer", 'echo "on $JAX_PLATFORMS"', process=0)
        start = ("local_multiprocess.sh", "1", *flags(machine))
        _, output = machine.run(*start, CSST_COORDINATOR=where, JAX_PLATFORMS=asked)
        assert output == f"on {platform}\n"


def test_sigterm_reaches_all_processes(machine):
    for process in range(2):
        machine.plan("trainer", UNTIL_SIGTERM, process=process)
    launcher = machine.start("local_multiprocess.sh", "2", *flags(machine), CSST_COORDINATOR=str(machine.workdir))
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
    machine.plan("git", "echo abc123")
    for name in ("rm", "sleep"):
        machine.plan(name)
    status, output = machine.run("tpu_vm.sh", "run", "--workdir=gs://my-bucket/w")
    assert status == 0 and "was preempted: making it again" in output and "commit abc123\n" in output
    assert machine.started("git") == ["[] rev-parse HEAD", "[] archive --output=csst_jax.tar abc123"]
    made = ["delete", "create", "describe", "describe", "scp", "ssh"]
    assert actions(machine) == ["ssh", "describe", *made, "ssh"]
    first, last = machine.started("gcloud")[0], machine.started("gcloud")[-1]
    assert first == last and "launch/local.sh --workdir=gs://my-bucket/w" in first


def test_a_run_that_fails_on_a_slice_that_is_there_is_a_failure(machine):
    machine.plan("gcloud", "exit 2", "echo READY")
    for name in ("git", "sleep"):
        machine.plan(name)
    status, output = machine.run("tpu_vm.sh", "run", "--workdir=gs://my-bucket/w")
    assert status == 2 and "launch/tpu_vm.sh stop ends the run" in output
    assert actions(machine) == ["ssh", "describe"]


def test_a_slice_that_may_be_there_is_not_deleted(machine):
    """No network, a login that has ended, a host under maintenance: the run may be training."""
    machine.plan(
        "gcloud",
        "exit 255",
        "echo ERROR: no network >&2; exit 1",
        "echo REPAIRING",
        "echo WARNING: old gcloud >&2; echo READY",
    )
    for name in ("git", "sleep"):
        machine.plan(name)
    status, output = machine.run("tpu_vm.sh", "run", "--workdir=gs://my-bucket/w")
    assert status == 255 and actions(machine) == ["ssh", "describe", "describe", "describe"]
    assert "is not known: ERROR: no network; asking again" in output and "is REPAIRING; asking again" in output


@pytest.mark.parametrize("says", ["echo TERMINATED", "echo 'ERROR: NOT_FOUND: no such node' >&2; exit 1"])
def test_a_slice_that_is_gone_is_made_again(machine, says):
    machine.plan("gcloud", "exit 255", says, "exit 9")
    for name in ("git", "sleep"):
        machine.plan(name)
    assert machine.run("tpu_vm.sh", "run", "--workdir=gs://my-bucket/w")[0] == 9
    assert actions(machine) == ["ssh", "describe", "delete"]


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
