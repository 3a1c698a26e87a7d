"""How much memory there is, how glibc's allocator treats what is freed, and how often Python looks for garbage."""

from __future__ import annotations

import ctypes
import gc
import pathlib
import platform
import re
from typing import NamedTuple

CGROUP = pathlib.Path("/sys/fs/cgroup")
"""Where Linux has the limits of the container that this process is in."""


class _Version(NamedTuple):
    """Files of a version of cgroups: the limit, what is used, and of what that consists."""

    limit: str
    used: str
    parts: str


_VERSIONS = (
    _Version("memory.max", "memory.current", "memory.stat"),
    _Version("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)
# <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Makes this process keep the memory that it frees, as if MALLOC_TRIM_THRESHOLD_ and its kin had been set.

    On CPU, XLA allocates the large temporaries of a step anew each time. glibc hands such blocks back to the kernel at
    once and gets them again page by page, zeroed: a quarter of the time of FastSCNN's step on two cores. Results are
    the same; the process does not shrink below its largest step. To be called before threads are started.

    Returns:
      Whether it did: the allocator is glibc's and takes the settings.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # One arena: each of several would keep its own freed memory.
    settings = ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _LARGEST_INT))
    return all(mallopt(name, value) == 1 for name, value in settings)


def limit_bytes(cgroup: pathlib.Path = CGROUP) -> int | None:
    """How much memory this container may have; None where it has no limit, or Linux does not tell.

    Args:
      cgroup: directory of the container's limits.
    """
    for version in _VERSIONS:
        if (text := _text(cgroup / version.limit)) is not None:
            return int(text) if text.strip().isdecimal() else None
    return None


def room_bytes(cgroup: pathlib.Path = CGROUP) -> int | None:
    """What this process can have in all before the kernel ends one; None where Linux's /proc does not tell.

    Memory that it has freed and kept counts as free, as does what it holds, and what the kernel can take back, such as
    files that were read: it is more than there is, never less.

    Args:
      cgroup: directory of the container's limits.
    """
    own = re.search(r"^VmRSS:\s+(\d+) kB$", _text(pathlib.Path("/proc/self/status")) or "", re.M)
    system = _text(pathlib.Path("/proc/meminfo")) or ""
    found = dict(re.findall(r"^(MemAvailable|SwapFree):\s+(\d+) kB$", system, re.M))
    if own is None or len(found) < 2:
        return None
    free, limit, used = 1024 * int(found["MemAvailable"]), limit_bytes(cgroup), _used_bytes(cgroup)
    if limit is not None and used is not None:
        free = min(free, max(limit - used, 0))
    return free + 1024 * (int(own[1]) + int(found["SwapFree"]))


def _used_bytes(cgroup: pathlib.Path) -> int | None:
    """What this container holds and the kernel cannot take back; None where that is not told."""
    for version in _VERSIONS:
        used, parts = _text(cgroup / version.used), _text(cgroup / version.parts)
        if used is not None and parts is not None:
            back = re.findall(r"^(?:active_file|inactive_file|slab_reclaimable) (\d+)$", parts, re.M)
            return int(used) - sum(map(int, back))
    return None


def _text(path: pathlib.Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def collect_seldom() -> None:
    """Lets Python's collector of cycles look at new objects once 200,000 have stayed, not 700.

    Imports and tracing make a million objects that stay. Looking at them again and again, and at all that there is each
    time that it has grown by a quarter, takes a sixth of the processor time of a start, and finds next to nothing.
    """
    gc.set_threshold(200_000, 20, 50)
