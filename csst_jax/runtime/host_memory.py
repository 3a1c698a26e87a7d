"""How much memory there is, how glibc's allocator treats what is freed, and how often Python looks for garbage."""

from __future__ import annotations

import ctypes
import gc
import pathlib
import platform
import re

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


def room_bytes() -> int | None:
    """What this process can have in all before the kernel ends one; None where Linux's /proc does not tell.

    Memory that it has freed and kept counts as free, as does what it holds: it is more than there is, never less.
    """
    try:
        system = pathlib.Path("/proc/meminfo").read_text(encoding="ascii")
        own = pathlib.Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = dict(re.findall(r"^(MemAvailable|SwapFree|VmRSS):\s+(\d+) kB$", system + own, re.M))
    return 1024 * sum(map(int, found.values())) if len(found) == 3 else None


def collect_seldom() -> None:
    """Lets Python's collector of cycles look at new objects once 200,000 have stayed, not 700.

    Imports and tracing make a million objects that stay. Looking at them again and again, and at all that there is each
    time that it has grown by a quarter, takes a sixth of the processor time of a start, and finds next to nothing.
    """
    gc.set_threshold(200_000, 20, 50)
