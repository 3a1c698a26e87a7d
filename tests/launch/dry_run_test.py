"""Every launcher is a clean script, and its dry run ends in the same command."""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch"
SCRIPTS = sorted(LAUNCH.glob("*.sh"))
SOURCED = {"flags.sh", "start.sh"}
ARGUMENTS = ["--config=configs/camvid.py:fraction=1_8", "--workdir=gs://my-bucket/runs/it's mine"]
SETTINGS = {"IMAGE": "registry/csst_jax:1", "CLUSTER": "my-cluster", "PYTHON": "python"}
LAUNCHERS = {
    "local.sh": [],
    "local_multiprocess.sh": ["2"],
    "tpu_vm.sh": ["run"],
    "gke.sh": [],
    "gke.sh --xpk": ["--xpk"],
    "slurm.sh": [],
}


@pytest.fixture
def dry_run(tmp_path):
    """A function that returns the lines a launcher prints; whatever it would start fails."""
    for name in ("gcloud", "git", "kubectl", "python", "rm", "scontrol", "srun", "xpk"):
        (tmp_path / name).write_text("#!/bin/sh\necho started $0 >&2\nexit 99\n")
        (tmp_path / name).chmod(0o755)

    def start(launcher, *words, settings=SETTINGS):
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **settings}
        command = ["bash", str(LAUNCH / launcher.split()[0]), *words, "--dry_run"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/")
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    return start


def tool(name):
    """A program beside the interpreter or on PATH."""
    return shutil.which(name, path=os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"])))


@pytest.mark.skipif(tool("shellcheck") is None, reason="shellcheck is not installed (requirements-dev.txt)")
def test_shellcheck_finds_nothing():
    command = [tool("shellcheck"), "--external-sources", "--source-path=SCRIPTDIR", *map(str, SCRIPTS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_launchers_stop_at_the_first_failure_and_can_be_started(path):
    text = path.read_text(encoding="utf-8")
    assert os.access(path, os.X_OK) == (path.name not in SOURCED)
    assert ("\nset -euo pipefail\n" in text) == (path.name not in SOURCED)


def test_every_launcher_is_tried():
    own = {path.name for path in SCRIPTS} - SOURCED - {"tpu_vm_setup.sh", "stop.sh"}
    assert {name.split()[0] for name in LAUNCHERS} == own


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_all_end_in_the_same_command(dry_run, launcher):
    last = shlex.split(dry_run(launcher, *LAUNCHERS[launcher], *ARGUMENTS)[-1], comments=False)
    assert last[-3 - len(ARGUMENTS) :] == ["python", "-m", "csst_jax.main", *ARGUMENTS]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_workdir_is_needed(launcher):
    script = LAUNCH / launcher.split()[0]
    words = [*LAUNCHERS[launcher], "--dry_run", "--config=c"]
    done = subprocess.run(["bash", str(script), *words], env={**os.environ, **SETTINGS}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: give --workdir=DIR\n")


def test_processes_of_one_machine_share_a_coordinator_and_differ_in_their_id(dry_run):
    lines = [shlex.split(line) for line in dry_run("local_multiprocess.sh", "2", *ARGUMENTS)]
    assert [line[:3] for line in lines] == [
        ["CSST_COORDINATOR=127.0.0.1:47017", "CSST_PROCESSES=2", f"CSST_PROCESS_ID={i}"] for i in range(2)
    ]


def test_a_slice_is_asked_for_filled_used_and_given_back(dry_run):
    actions = ("create", "install", "run", "stop", "collect", "delete")
    lines = {action: dry_run("tpu_vm.sh", action, *ARGUMENTS) for action in actions}
    commands = {action: [shlex.split(line) for line in lines[action]] for action in actions}
    (create,) = commands["create"]
    assert create[:6] == ["gcloud", "compute", "tpus", "queued-resources", "create", "csst"]
    assert {"--node-id=csst", "--accelerator-type=v5litepod-16", "--spot"} < set(create)
    assert [words[:5] for words in commands["install"][1:3]] == [
        ["gcloud", "compute", "tpus", "tpu-vm", "scp"],
        ["gcloud", "compute", "tpus", "tpu-vm", "ssh"],
    ]
    assert all("--worker=all" in words for words in (*commands["install"][1:3], commands["run"][0]))
    remote = commands["run"][0][-1].removeprefix("--command=")
    assert shlex.split(remote) == ["cd", "csst_jax", "&&", "CSST_COORDINATOR=auto", "launch/local.sh", *ARGUMENTS]
    (stop,) = commands["stop"]
    assert "--worker=all" in stop and stop[-1].endswith("CSST_COORDINATOR=auto launch/stop.sh")
    assert commands["collect"][-1][-2:] == ["gs://my-bucket/runs/it's mine", "runs/it's mine"]
    assert commands["delete"][0][3:5] == ["queued-resources", "delete"] and "--force" in commands["delete"][0]


def test_a_slice_that_is_not_preempted_is_asked_for_without_spot(dry_run):
    (create,) = dry_run("tpu_vm.sh", "create", settings={**SETTINGS, "SPOT": "0"})
    assert "--spot" not in create


def test_xpk_starts_the_same_on_each_host(dry_run):
    words = shlex.split(dry_run("gke.sh", "--xpk", *ARGUMENTS)[0])
    assert words[:3] == ["xpk", "workload", "create"]
    assert {
        "--cluster=my-cluster",
        "--tpu-type=v5litepod-16",
        "--docker-image=registry/csst_jax:1",
    } < set(words)
    remote = shlex.split(words[-1].removeprefix("--command="))
    assert remote == ["cd", "/csst_jax", "&&", "CSST_COORDINATOR=auto", "launch/local.sh", *ARGUMENTS]


def test_slurm_starts_one_process_on_each_node(dry_run):
    words = shlex.split(dry_run("slurm.sh", *ARGUMENTS)[0])
    assert words == ["srun", "--cpus-per-task=32", "launch/local.sh", *ARGUMENTS]
    header = (LAUNCH / "slurm.sh").read_text(encoding="utf-8").splitlines()
    options = [line.removeprefix("#SBATCH ") for line in header if line.startswith("#SBATCH ")]
    assert header[1].startswith("#SBATCH") and {"--ntasks-per-node=1", "--requeue", "--signal=TERM@120"} < set(options)
