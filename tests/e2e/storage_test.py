"""Disks that are full or read-only, under a whole run: file systems of their own, in namespaces that need no rights."""

import json
import subprocess

import pytest

from tests.small_runs import ROOT, toy_command

pytestmark = pytest.mark.slow

# Arguments: the mount point, then the command.
_FULL = """
disk=$1; shift
mount -t tmpfs -o size=16m none "$disk"
"$@" > "$disk.first" 2>&1 & run=$!
while [ -z "$(ls "$disk/run/teacher/checkpoints" 2>/dev/null | grep -v tmp)" ] && kill -0 $run; do sleep .05; done
dd if=/dev/zero of="$disk/filler" bs=1k 2>/dev/null
wait $run; echo $? > "$disk.status"
ls "$disk/run/teacher/checkpoints" > "$disk.checkpoints"
rm "$disk/filler"
"$@" > "$disk.second" 2>&1 || exit 1
cp "$disk/run/results.json" "$disk.results"
"""
_READ_ONLY = """
disk=$1; shift
mount -t tmpfs -o ro none "$disk"
"$@" > "$disk.first" 2>&1; echo $? > "$disk.status"
"""


@pytest.fixture
def on_a_disk_of_its_own(tmp_path, tiny_data):
    """A function that runs a script and tells what it left: name to text."""
    disk = tmp_path / "disk"
    disk.mkdir()
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    try:
        subprocess.run([*inside, 'mount -t tmpfs none "$0"', disk], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs Linux that lets a user mount file systems in a namespace ({error})")

    def ran(script):
        subprocess.run([*inside, script, "sh", disk, *toy_command(tiny_data, disk / "run")], cwd=ROOT, check=True)
        return {path.suffix[1:]: path.read_text() for path in tmp_path.glob("disk.*")}

    return ran


@pytest.mark.essential("a fault: the disk is full")
def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_space(on_a_disk_of_its_own):
    left = on_a_disk_of_its_own(_FULL)
    assert int(left["status"]) == 2, left["first"]
    told = left["first"][left["first"].index("\nerror: ") :]  # before it, a library may tell of what it gave up
    assert "No space left on device" in told and "ree space" in told and "run the same command again" in told
    assert "csst_jax/main.py" not in left["first"], "a traceback of ours"
    assert left["checkpoints"], "nothing was saved before"
    assert "resuming at step" in left["second"]
    assert json.loads(left["results"])["student"]


def test_a_workdir_that_cannot_be_written_is_named_at_once(on_a_disk_of_its_own):
    left = on_a_disk_of_its_own(_READ_ONLY)
    assert int(left["status"]) == 2, left["first"]
    assert "disk/run: nothing can be written to " in left["first"] and "mount it for writing" in left["first"]
    assert "Traceback" not in left["first"]
