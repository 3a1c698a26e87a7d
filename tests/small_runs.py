"""Whole runs of `csst_jax.main` in processes of their own, on the tiny data set: started, killed, compared."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# The tests' own (conftest.py). Named by the configuration it has the small programs, too, and most runs are the same.
CACHE = ROOT / ".jax_cache"

SETTINGS = {
    "schedule.num_sizes": 2,
    "width": 0.25,
    "epochs": 4,
    "samples_per_epoch": 32,
    "crop_px": 64,
    "batch_size": 8,
    "sampler.pseudo_min_area_px": 4,
}


def command(data, workdir, *more):
    """A run of FastSCNN at a quarter of its width, with a checkpoint every fifth of a second."""
    flags = [f"--config.{stage}.{key}={value}" for stage in ("teacher", "student") for key, value in SETTINGS.items()]
    return [
        sys.executable, "-m", "csst_jax.main", f"--config={ROOT}/configs/base.py", f"--workdir={workdir}",
        f"--config.data.dir={data}", *flags, "--config.label.shard_size=1", "--config.log_every_steps=1",
        "--config.checkpoint.every_s=0.2", "--config.evaluate.num_pictures=2",
        f"--config.compilation_cache_dir={CACHE}", *more,
    ]  # fmt: skip


_WITH_TOY = """
import runpy
from csst_jax.models import zoo
zoo.NETWORKS["toy"] = zoo.Entry("tests.toy_network:build")
runpy.run_module("csst_jax.main", run_name="__main__", alter_sys=True)
"""


def toy_command(data, workdir, *more):
    """The same with the toy network, which compiles in seconds."""
    arguments = [argument for argument in command(data, workdir) if argument not in ("-m", "csst_jax.main")]
    toys = [
        f"--config.{stage}.{key}" for stage in ("teacher", "student") for key in ("network=toy", "augment.blur=0.0")
    ]
    return [arguments[0], "-c", _WITH_TOY, *arguments[1:], *toys, *more]


_ONE_STAGE = (
    "--config.stages=student,evaluate",
    "--config.student.optimizer.name=adamw",
    "--config.student.lr.base=0.001",
    "--config.student.epochs=16",
)
MEAN_TEACHER = (
    *_ONE_STAGE,
    "--config.student.method.name=mean_teacher",
    "--config.student.method.mean_teacher.confidence_threshold=0.3",
    "--config.student.method.mean_teacher.ramp_up_steps=4",
)
"""A student whose method has two streams, two views and an average of its weights, under AdamW."""
_SETTINGS = {
    **dict.fromkeys(("consistency", "unimatch", "unimatch_v2"), ("confidence_threshold=0.3",)),
    **dict.fromkeys(("freematch", "cps", "pseudoseg"), ()),
    # One decoder a kind: there are thirty by default.
    "cct": tuple(
        f"{kind}=1"
        for kind in ("adversarial", "drop", "cutout", "context", "background", "feature_drop", "feature_noise")
    ),
    "hlcon": ("discriminator_channels=4",),
    "corrmatch": ("threshold=0.3", "regions=8"),
    "dst_cbc": ("unlabelled_parts=1",),
    "u2pl": ("bank=64", "new_keys=16", "low_rank=1"),
}
ONE_STAGE = {
    "mean_teacher": MEAN_TEACHER,
    **{
        name: (
            *_ONE_STAGE,
            f"--config.student.method.name={name}",
            *(f"--config.student.method.{name}.{setting}" for setting in settings),
        )
        for name, settings in _SETTINGS.items()
    },
}
"""The same with each method of one stage."""
TWO_STAGES = {
    "soft": ("--config.label.soft.k=3",),
    "model_regulariser": ("--config.student.method.name=model_regulariser",),
    "finetuned": ("--config.finetune_teacher=True", "--config.student.lr.base=0.002"),
}
"""The paper's other ways with a teacher (§3.1.1)."""

ST_PLUS_PLUS = (
    "--config.rounds=2",
    "--config.label.reliable_share=0.5",
    "--config.teacher.snapshots=2",
    "--config.student.method.name=real_and_pseudo",
    "--config.student.method.real_and_pseudo.cutout=0.5",
)
"""Two rounds, of which the first selects images."""


def start(arguments, **environment):
    """The process; both its streams go into one pipe."""
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_together(commands, devices=1):
    """One process a command, joined into one run, each with as many devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    shared = {"CSST_COORDINATOR": f"127.0.0.1:{free_port()}", "CSST_PROCESSES": str(len(commands)), "XLA_FLAGS": flags}
    return [start(arguments, **shared, CSST_PROCESS_ID=str(i)) for i, arguments in enumerate(commands)]


def finish(process, status=0, timeout=900):
    """What the process printed, once it has ended as it should."""
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == status, output
    return output


def wait_for(path, process, seconds=120):
    """Returns when a file with something in it, or a directory, is there, or the process has ended."""
    give_up = time.monotonic() + seconds
    while process.poll() is None and not (path.is_dir() or (path.exists() and path.stat().st_size)):
        assert time.monotonic() < give_up, f"no {path} after {seconds} s"
        time.sleep(0.02)


def copy_as_killed(process, workdir, copy):
    """Copies the files that the process would leave if it were killed now: it stands still meanwhile, and goes on."""
    process.send_signal(signal.SIGSTOP)
    try:
        shutil.copytree(workdir, copy)
    finally:
        process.send_signal(signal.SIGCONT)


def results(workdir):
    """results.json without what may differ from run to run: times, and what the last process had to compile."""
    content = json.loads((workdir / "results.json").read_text())
    del content["wall_s"]
    for stage in content["compilations"].values():
        del stage["phases"], stage["count"]
    return content


def state_of(workdir):
    """Where a run stands, from coarse to fine."""
    for stage in ("student", "pseudo_labels", "teacher"):
        if (workdir / stage).exists():
            return f"{stage}, finished" if (workdir / stage / "DONE").exists() else stage
    return "start"


def free_port():
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
