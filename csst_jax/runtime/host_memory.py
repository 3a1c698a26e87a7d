"""How glibc's allocator treats memory that a step has freed, and how often Python looks for garbage."""

from __future__ import annotations

import ctypes
import gc
import platform

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


def collect_seldom() -> None:
    """Lets Python's collector of cycles look at new objects once 200,000 have stayed, not 700.

    Imports and tracing make a million objects that stay. Looking at them again and again, and at all that there is each
    time that it has grown by a quarter, takes a sixth of the processor time of a start, and finds next to nothing.
    """
    gc.set_threshold(200_000, 20, 50)
