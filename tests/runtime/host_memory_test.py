"""Freed memory stays with the process where glibc allocates; what stays is not looked at for garbage time and again."""

import platform
import resource
import subprocess
import sys

import pytest

from csst_jax.runtime import host_memory

# Faults of ten rounds of allocating, touching and freeing 64 MiB: glibc maps each block anew, and unmaps it.
FAULTS = """
import resource, sys, numpy as np
from csst_jax.runtime.host_memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for round in range(11):
    if round == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.zeros(2**26, np.uint8).fill(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_the_room_is_more_than_this_process_has():
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert host_memory.room_bytes() > own


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize(
    "limit,used,stat",
    [
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ],
)
def test_the_room_ends_with_the_containers_limit_and_files_that_were_read_are_room(tmp_path, limit, used, stat):
    (tmp_path / "memory").mkdir()
    elsewhere = host_memory.room_bytes(tmp_path)
    assert host_memory.limit_bytes(tmp_path) is None

    def room(of, has, files):
        for name, text in ((limit, of), (used, has), (stat, f"anon 1\ninactive_file {files}\nactive_file {files}\n")):
            (tmp_path / name).write_text(f"{text}\n")
        return host_memory.room_bytes(tmp_path)

    none = room(2**30, 2**30, 0)  # this process's own alone
    assert none < elsewhere and host_memory.limit_bytes(tmp_path) == 2**30
    assert room(2**30, 2**30 - 2**26, 0) - none == pytest.approx(2**26, abs=2**24)
    assert room(2**30, 2**30, 2**26) - none == pytest.approx(2**27, abs=2**24)
    assert room(2**62, 2**30, 0) == pytest.approx(elsewhere, rel=0.5)


def faults(setting):
    # Huge pages would be few faults either way.
    settings = {"NUMPY_MADVISE_HUGEPAGE": "0"}
    return int(
        subprocess.run([sys.executable, "-c", FAULTS, setting], env=settings, capture_output=True, check=True).stdout
    )


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_freed_memory_is_used_again():
    assert faults("keep") < 0.2 * faults("leave")


COLLECTIONS = """
import gc, sys
from csst_jax.runtime.host_memory import collect_seldom
if sys.argv[1] == "seldom":
    collect_seldom()
before = sum(generation["collections"] for generation in gc.get_stats())
kept = [[] for _ in range(500_000)]
print(sum(generation["collections"] for generation in gc.get_stats()) - before)
cycle = []
cycle.append(cycle)
del cycle
assert gc.isenabled() and gc.collect() > 0
"""


def test_collections_are_few():
    def collections(setting):
        return int(subprocess.run([sys.executable, "-c", COLLECTIONS, setting], capture_output=True, check=True).stdout)

    assert 1 <= collections("seldom") <= 3
    assert collections("often") > 100


# glibc gives a thread that starts before the settings an arena of its own, which maps and unmaps large blocks anew.
ARENAS = """
import ctypes, pathlib, sys
from csst_jax.runtime import outputs

def arenas(*_):
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(libc.fopen(sys.argv[-1].encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(pathlib.Path(sys.argv[-1]).read_text().count("<heap nr="))
    sys.exit(0)

outputs.directory = arenas
from absl import app
from csst_jax import main
app.run(main.main, ["main", "--config=configs/base.py", "--workdir=x", sys.argv[1]])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_no_thread_of_the_main_command_starts_before(tmp_path):
    told = subprocess.run(
        [sys.executable, "-c", ARENAS, str(tmp_path / "info.xml")], capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["1"]
