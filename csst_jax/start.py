"""What happens before the pipeline: the workdir's lock, logging, JAX's processes and compilation cache."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pathlib
import sys
from typing import TYPE_CHECKING

import jax
from absl import logging as absl_logging

from csst_jax.json_files import read_json, write_json
from csst_jax.peers import HEARTBEAT_S
from csst_jax.stages.artifact import CONFIG_FILE
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ml_collections import ConfigDict

LOCK_FILE = ".lock"


@contextlib.contextmanager
def claimed(workdir: pathlib.Path) -> Iterator[None]:
    """Holds the workdir's lock, which the operating system drops with the process, however it ends.

    The processes of one run share a workdir: the first one holds the lock, so JAX must have been started.

    Raises:
      CsstError: another run holds it.
    """
    if jax.process_index() > 0:
        yield
        return
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / LOCK_FILE).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            raise CsstError(
                f"{workdir} is in use by another run{f' (process {holder})' if holder else ''}; "
                "wait until it ends, or give this one another --workdir."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


@contextlib.contextmanager
def recorded_config(config: ConfigDict, workdir: pathlib.Path) -> Iterator[None]:
    """Keeps the resolved configuration beside the results; a run that is refused leaves its predecessor's there."""
    if jax.process_index() > 0:
        yield
        return
    path = workdir / CONFIG_FILE
    previous = read_json(path) if path.exists() else None
    write_json(path, config.to_dict())
    try:
        yield
    except CsstError:
        if previous is not None:
            write_json(path, previous)
        raise


def start_logging(workdir: pathlib.Path) -> None:
    """Log lines of the first process to the terminal and to `log.txt` in the workdir."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    if jax.process_index() > 0:
        return
    logging.getLogger("csst_jax").setLevel(logging.INFO)
    terminal: logging.Handler = logging.StreamHandler(sys.stdout)
    file = logging.FileHandler(workdir / "log.txt", encoding="utf-8")
    for handler in (terminal, file):
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        root.addHandler(handler)


def quiet_libraries() -> None:
    """Lets libraries log warnings and errors alone; JAX tells of every backend that it does not find."""
    absl_logging.set_verbosity(absl_logging.WARNING)
    logging.getLogger().setLevel(logging.WARNING)


def start_jax(config: ConfigDict) -> None:
    """Joins the run's other processes, if it has any, and turns on the persistent compilation cache.

    On a TPU pod slice the runtime knows the other processes. Elsewhere `CSST_COORDINATOR` (host:port),
    `CSST_PROCESSES` and `CSST_PROCESS_ID` name them (`launch/` sets them).
    """
    if config.compilation_cache_dir:
        cache = pathlib.Path(config.compilation_cache_dir).expanduser()
        cache.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(cache))
        # The small programs, too: a start has a dozen of them, and together they take as long as TensorFlow's import.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    coordinator = os.environ.get("CSST_COORDINATOR")
    if coordinator:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        here = (coordinator, int(os.environ["CSST_PROCESSES"]), int(os.environ["CSST_PROCESS_ID"]))
        jax.distributed.initialize(*here, heartbeat_timeout_seconds=HEARTBEAT_S)
    elif len(os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")) > 1:
        jax.distributed.initialize(heartbeat_timeout_seconds=HEARTBEAT_S)
