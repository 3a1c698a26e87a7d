"""What a process runs on, as far as sizes depend on it: devices, their memory, cores."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from csst_jax.runtime.host_memory import CGROUP, limit_bytes

if TYPE_CHECKING:
    import pathlib


@dataclasses.dataclass(frozen=True)
class Machine:
    """Devices of all processes, and cores of this one.

    Attributes:
      platform: JAX's name of it: cpu, gpu, tpu.
      devices: how many there are.
      memory_bytes: of one device; of a CPU its share of the host's. None where the device does not tell.
      cores: that this process may use.
    """

    platform: str
    devices: int
    memory_bytes: int | None
    cores: int

    @property
    def words(self) -> str:
        """For people."""
        memory = "unknown memory" if self.memory_bytes is None else f"{self.memory_bytes / 2**30:.0f} GiB"
        if self.platform == "cpu":
            return f"a CPU of {self.cores} core{'s' if self.cores > 1 else ''} and {memory}"
        return f"{self.devices} {self.platform.upper()}{'s' if self.devices > 1 else ''} of {memory}"


def this_machine() -> Machine:
    """Looks; the first call starts JAX's devices."""
    import jax  # takes a second, which `csst_jax.plan` and tests that make a `Machine` need not wait for

    device = jax.local_devices()[0]
    if device.platform == "cpu":
        memory: int | None = host_memory_bytes() // jax.local_device_count()
    else:
        memory = (device.memory_stats() or {}).get("bytes_limit")
    return Machine(jax.default_backend(), jax.device_count(), memory, num_cores())


def num_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def host_memory_bytes(cgroup: pathlib.Path = CGROUP) -> int:
    """Memory of the host, or of the container where that has a limit.

    Args:
      cgroup: directory of the container's limits.
    """
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = limit_bytes(cgroup)
    return physical if limit is None else min(physical, limit)
