"""Runs whose workdir is in a bucket: killed, stopped, in two processes, and looked at afterwards."""

import json
import signal
import time

import pytest

from csst_jax.models.weights import files
from tests.small_runs import finish, results, start, start_together, toy_command

pytestmark = pytest.mark.slow

# A killed run's claim is looked at for a minute, which is a minute of a test.
_QUICK = """
from csst_jax.runtime import claim
claim._RENEW_EVERY_S, claim._SILENT_FOR_S, claim._LOOK_EVERY_S = 0.5, 2.0, 0.2
"""


def in_bucket(data, *more):
    python, option, program, *flags = toy_command(data, "gs://bucket/run", *more)
    return [python, option, _QUICK + program, *flags]


def wait_for(bucket, prefix, process, seconds=120):
    """Returns when there is an object whose name begins so, or the process has ended."""
    give_up = time.monotonic() + seconds
    while process.poll() is None and not bucket.names(prefix):
        assert time.monotonic() < give_up, f"no {prefix} after {seconds} s among {bucket.names()}"
        time.sleep(0.05)


def fetched(bucket, directory):
    """What a run reports, on this disk."""
    directory.mkdir(parents=True)
    (directory / "results.json").write_bytes(bucket.content("run/results.json"))
    return directory


@pytest.mark.essential("a run in a bucket")
def test_killed_and_stopped_it_ends_as_on_a_disk(bucket, tiny_data, tmp_path):
    finish(start(toy_command(tiny_data, tmp_path / "disk")))
    process = start(in_bucket(tiny_data))
    wait_for(bucket, "run/teacher/checkpoints.sha256/", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL and "run/teacher/DONE" not in bucket.names()

    process = start(in_bucket(tiny_data))
    wait_for(bucket, "run/student/checkpoints.sha256/", process)
    process.send_signal(signal.SIGTERM)
    output = finish(process)
    assert "waiting 2 s to see whether its run is alive" in output and "teacher: resuming at step" in output
    assert "student: SIGTERM; saved step" in output and "run/.lock" not in bucket.names()

    output = finish(start(in_bucket(tiny_data)))
    assert "gs://bucket/run/results.json" in output and "waiting" not in output
    assert results(fetched(bucket, tmp_path / "bucket")) == results(tmp_path / "disk")
    for name in ("report.html", "pictures/validation.png", "pseudo_labels/contact_sheet.png", "student/parameters.txt"):
        assert bucket.content(f"run/{name}")
    (tmp_path / "student.safetensors").write_bytes(bucket.content("run/student/model.safetensors"))
    ours, theirs = files.read(tmp_path / "student.safetensors")[1], files.describe(tmp_path / "disk")
    assert (ours.weights_sha256, ours.scores) == (theirs.weights_sha256, theirs.scores) and ours.scores["miou"] >= 0
    lines = [json.loads(line) for line in bucket.content("run/student/metrics.jsonl").splitlines()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    assert sum("tfevents" in name for name in bucket.names("run/student/")) >= 1
    log = bucket.content("run/log.txt").decode()
    assert "student: SIGTERM; saved step" in log and log.count("data set tiny") >= 2  # of a killed run, what was copied

    flags = [flag for flag in toy_command(tiny_data, "") if flag != "--workdir="]
    flags[2] = flags[2].replace("csst_jax.main", "csst_jax.evaluate")
    output = finish(start([*flags, "--checkpoint=gs://bucket/run/teacher"]))
    assert "gs://bucket/run/scores/scores.json" in output
    scored = json.loads(bucket.content("run/scores/scores.json"))["networks"]["teacher"]
    assert scored["miou"] == results(tmp_path / "disk")["teacher"]["miou"]


def test_two_processes_share_a_workdir_and_the_compilation_cache(bucket, tiny_data):
    command = in_bucket(tiny_data, "--config.compilation_cache_dir=gs://bucket/cache")
    first, second = [finish(process) for process in start_together([command] * 2, devices=2)]
    assert first.count("student-teacher") == 1 and "student-teacher" not in second
    report = json.loads(bucket.content("run/results.json"))
    assert report["pseudo_labels"]["images"] == 4 == report["pseudo_labels"]["shards"]
    assert {name for name in bucket.names("run/pseudo_labels/labels-")} == {
        f"run/pseudo_labels/labels-{shard:05d}-of-00004.array_record" for shard in range(4)
    }
    assert bucket.names("cache/")
