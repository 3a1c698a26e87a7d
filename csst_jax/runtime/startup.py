"""What happens before the pipeline: logging, JAX's processes and compilation cache."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import sys
import tempfile
import uuid
from typing import TYPE_CHECKING, Any

import jax
import orbax.checkpoint as ocp
from absl import logging as absl_logging

from csst_jax.runtime.json_files import read_json, write_json
from csst_jax.runtime.leaving import HEARTBEAT_S
from csst_jax.runtime.signals import Preempted
from csst_jax.runtime.storage import Mirror, StoragePath, as_path, is_remote
from csst_jax.runtime.workdir import CONFIG_FILE, ERROR, LOG_FILE
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TextIO

    from ml_collections import ConfigDict

log = logging.getLogger(__name__)

COORDINATOR = "CSST_COORDINATOR"
_SEEN = "csst_jax/cache"
_ANSWER_MS = 300_000


@contextlib.contextmanager
def recorded_config(config: ConfigDict, workdir: StoragePath) -> Iterator[None]:
    """Keeps the resolved configuration beside the results; a run that is refused leaves its predecessor's there."""
    if jax.process_index() > 0:
        yield
        return
    path = workdir / CONFIG_FILE
    previous = _previous(path) if path.exists() else None
    write_json(path, config.to_dict())
    try:
        yield
    except CsstError:
        if previous is not None:
            write_json(path, previous)
        raise


def _previous(path: StoragePath) -> Any:
    """What the last run was asked for; None where the file was cut off, which no result depends on."""
    try:
        return read_json(path)
    except CsstError:
        log.warning("%s was damaged, by a full disk for example. It is written again; nothing is lost.", path)
        return None


@contextlib.contextmanager
def logged(workdir: StoragePath) -> Iterator[None]:
    """Log lines of the first process go to the terminal and to `log.txt` in the workdir.

    What ends the run, an error or a signal, is the last line of the file; the terminal gets it elsewhere.
    """
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    if jax.process_index() > 0:
        yield
        return
    logging.getLogger("csst_jax").setLevel(logging.INFO)
    with contextlib.ExitStack() as stack:
        directory = workdir
        if not isinstance(workdir, pathlib.Path):
            mirror = Mirror(workdir)
            stack.callback(mirror.close)
            mirror.fetch(LOG_FILE)
            directory = mirror.directory
        file = _LogFile(directory / LOG_FILE, encoding="utf-8")
        terminal: logging.Handler = logging.StreamHandler(sys.stdout)
        for handler in (terminal, file):
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
            root.addHandler(handler)
        stack.callback(file.close)
        stack.callback(root.removeHandler, file)
        try:
            yield
        except (CsstError, Preempted) as error:
            words = " ".join(str(error).split("\n"))
            said = words if isinstance(error, Preempted) else f"{ERROR}{words}"
            file.handle(log.makeRecord(log.name, logging.ERROR, __file__, 0, said, (), None))
            raise


@contextlib.contextmanager
def lines_of_progress(stream: TextIO | None = None) -> Iterator[None]:
    """What csst_jax logs goes to the terminal, for commands without a workdir; to stdout, if no stream is given."""
    ours, terminal = logging.getLogger("csst_jax"), logging.StreamHandler(stream or sys.stdout)
    before, ours.propagate = ours.propagate, False  # libraries put handlers of their own on the root
    ours.setLevel(logging.INFO)
    ours.addHandler(terminal)
    try:
        yield
    finally:
        ours.removeHandler(terminal)
        ours.propagate = before


class _LogFile(logging.FileHandler):
    """A file whose disk is full lacks lines that the terminal has; a page on the terminal for each would hide why."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def quiet_libraries() -> None:
    """Lets libraries log warnings and errors alone; JAX tells of every backend that it does not find.

    What Orbax and fsspec raise they also log, with a traceback from each thread that it passes.
    """
    absl_logging.set_verbosity(absl_logging.WARNING)
    absl_logging.get_absl_logger().addFilter(lambda record: not (record.exc_info and "orbax" in record.pathname))
    logging.getLogger().setLevel(logging.WARNING)
    for name in ("fsspec", "gcsfs"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def start_jax(config: ConfigDict) -> None:
    """Joins the run's other processes, if it has any, and turns on the persistent compilation cache.

    Raises:
      CsstError: see `join_processes`.
    """
    keep_programs(config.compilation_cache_dir)
    join_processes(os.environ)
    if jax.process_count() > 1:
        keep_shared_programs(jax.default_backend())


def keep_programs(directory: str) -> None:
    """Turns on the persistent compilation cache; without a place for it, a line on stderr says so, and work goes on.

    Args:
      directory: where compiled programs are kept; empty for nowhere.

    Raises:
      CsstError: it is on object storage that cannot be used.
    """
    cache = _cache(directory)
    if cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(cache))
        # The small programs, too: a start has a dozen of them, and together they take as long as TensorFlow's import.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _cache(directory: str) -> StoragePath | None:
    """The place, made; None where it cannot be."""
    if not directory:
        return None
    if is_remote(directory):
        return as_path(directory, "compilation_cache_dir")
    try:
        found = pathlib.Path(directory).expanduser().resolve()
        found.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=found):
            return found
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
        print(
            f"warning: compiled programs cannot be kept in compilation_cache_dir={directory} ({error}): each start "
            "compiles them again. Set --config.compilation_cache_dir to a directory that can be written to, or leave "
            "it empty.",
            file=sys.stderr,
        )
        return None


def keep_shared_programs(platform: str) -> None:
    """Turns the compilation cache off in all processes where one does not see what the first one writes there.

    JAX writes it in the first process alone. On GPUs, processes that compile share the search for fast kernels: they
    would wait for one that has found the program in its cache. Call it before anything is compiled.

    Args:
      platform: JAX's name of what the run computes on; only on "gpu" anything is done.
    """
    if platform != "gpu":
        return
    client, this = ocp.multihost.get_jax_distributed_client(), jax.process_index()
    directory = jax.config.values["jax_compilation_cache_dir"]
    token = None
    if this == 0:
        name = f"seen_by_all_processes-{uuid.uuid4().hex}"
        if directory and not is_remote(directory):
            token = pathlib.Path(directory) / name
            token.touch()
        client.key_value_set(_SEEN, name)
    name = client.blocking_key_value_get(_SEEN, _ANSWER_MS)
    seen = bool(directory) and (is_remote(directory) or (pathlib.Path(directory) / name).exists())
    client.key_value_set(f"{_SEEN}/{this}", str(int(seen)))
    answers = [client.blocking_key_value_get(f"{_SEEN}/{i}", _ANSWER_MS) == "1" for i in range(jax.process_count())]
    if token is not None:
        token.unlink()
    blind = not_shared(answers)
    if blind:
        jax.config.update("jax_compilation_cache_dir", None)
        if this == 0 and directory:
            print(
                "warning: compiled programs are not kept: compilation_cache_dir is not one directory for all processes "
                f"(process {', '.join(map(str, blind))} does not see what process 0 writes). Set "
                "--config.compilation_cache_dir to a directory that all hosts share.",
                file=sys.stderr,
            )


def not_shared(seen: Sequence[bool]) -> list[int]:
    """Processes for whose sake the cache is turned off: all that do not see it, or have none.

    Args:
      seen: of each process, whether it sees what the first one wrote into its cache.
    """
    return [process for process, sees in enumerate(seen) if not sees]


def join_processes(environment: Mapping[str, str]) -> None:
    """Joins the processes of a run, whose number and places the environment says (`launch/` sets it).

    Args:
      environment: `CSST_COORDINATOR=auto` lets JAX find them: on a TPU slice, in GKE, under Slurm and Open MPI.
        `CSST_COORDINATOR=host:port` (of the first process) with `CSST_PROCESSES` and `CSST_PROCESS_ID` names them.
        Without it this process is alone.

    Raises:
      CsstError: the variables do not say it, or JAX finds no cluster, or this process is not alone after all.
    """
    coordinator = environment.get(COORDINATOR)
    if not coordinator:
        if jax.process_count() > 1:
            raise CsstError(
                f"this device is part of a slice of {jax.process_count()} hosts: set {COORDINATOR}=auto and start the "
                "same command on all of them (launch/tpu_vm.sh and launch/gke.sh do; docs/pods.md)."
            )
        return
    # JAX would take SIGTERM for itself, and nobody here would ask it; the loop's own vote is csst_jax/train/loop.py's.
    jax.config.update("jax_enable_preemption_service", False)
    if coordinator == "auto":
        try:
            jax.distributed.initialize(heartbeat_timeout_seconds=HEARTBEAT_S)
        except ValueError as error:  # what it could not find
            raise CsstError(
                f"{COORDINATOR}=auto: JAX finds no TPU slice, Slurm step or Kubernetes job here ({error}) "
                "Unset it to run alone, or set it to HOST:PORT, with CSST_PROCESSES and CSST_PROCESS_ID."
            ) from error
        return
    try:
        processes, this = int(environment["CSST_PROCESSES"]), int(environment["CSST_PROCESS_ID"])
    except (KeyError, ValueError) as error:
        raise CsstError(
            f"{COORDINATOR}={coordinator} needs two numbers: CSST_PROCESSES, and CSST_PROCESS_ID, which counts from 0 "
            f"({type(error).__name__}: {error})."
        ) from error
    if ":" not in coordinator or not 0 <= this < processes:
        raise CsstError(
            f"{COORDINATOR}={coordinator}, CSST_PROCESSES={processes}, CSST_PROCESS_ID={this}: "
            "give HOST:PORT (or auto), and an id from 0 to the number of processes less one."
        )
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        coordinator,
        processes,
        this,
        cluster_detection_method="deactivate",
        heartbeat_timeout_seconds=HEARTBEAT_S,
    )
