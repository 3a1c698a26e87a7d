"""What happens before the pipeline: flags, the workdir's lock, logging, JAX's processes and compilation cache."""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import logging
import os
import pathlib
import re
import sys
from typing import TYPE_CHECKING

import jax
from absl import flags
from absl import logging as absl_logging
from ml_collections import config_flags

from csst_jax.stages.artifact import read_json, write_json
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ml_collections import ConfigDict

LOCK_FILE = ".lock"
CONFIG_FILE = "config.json"


def define_config() -> flags.FlagHolder[ConfigDict]:
    """Defines `--config`, whose keys can be overridden as `--config.a.b=value`."""
    return config_flags.DEFINE_config_file("config", None, "Configuration file, for example configs/demo.py.")


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line; exits with status 2 and one line for a flag, file, key or value that is wrong."""
    if {"--help", "-help", "-h"} & set(argv):
        print(sys.modules["__main__"].__doc__)
        for name in ("config", "workdir"):
            print(f"  --{name}: {flags.FLAGS[name].help}")
        print("  --config.KEY=VALUE: overrides a key; configs/base.py explains every one.")
        sys.exit(0)
    try:
        _check_config(argv)
        return flags.FLAGS(argv)
    except (CsstError, flags.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _check_config(argv: list[str]) -> None:
    """Loads the configuration alone, then compares the overrides' names with its keys.

    ml_collections reports an unknown section by its bare name, without the flag it stood in; here it is named in full.
    """
    files = [arg for arg in argv if re.match(r"--?config=", arg)]
    if not files:
        raise CsstError("--config is missing; give a configuration file, for example --config=configs/demo.py.")
    path = pathlib.Path(files[-1].partition("=")[2].partition(":")[0])
    if not path.is_file():
        known = ", ".join(sorted(str(p) for p in pathlib.Path("configs").glob("[!_]*.py")))
        raise CsstError(f"--config={path}: no such file{f'; there are: {known}' if known else ''}.")
    alone = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "The configuration alone.", flag_values=alone)
    alone([argv[0], files[-1]])
    keys = leaf_keys(alone["config"].value)
    for arg in argv[1:]:
        match = re.match(r"--?(?:no)?config\.([^=]+)", arg)
        if match and match.group(1) not in keys:
            key = match.group(1)
            last = {k.rpartition(".")[2]: k for k in keys}
            near = difflib.get_close_matches(key, keys, n=3) or [
                last[k] for k in difflib.get_close_matches(key.rpartition(".")[2], last, n=3)
            ]
            hint = f"Near ones: {', '.join(near)}." if near else f"Known: {', '.join(keys)}."
            raise CsstError(f"unknown configuration key {key!r} in {arg}. {hint} configs/base.py explains every key.")


def leaf_keys(config: ConfigDict, prefix: str = "") -> list[str]:
    """All keys of a configuration as dotted names."""
    keys: list[str] = []
    for key, value in config.items():
        keys += leaf_keys(value, f"{prefix}{key}.") if hasattr(value, "items") else [prefix + key]
    return keys


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
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    coordinator = os.environ.get("CSST_COORDINATOR")
    if coordinator:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(coordinator, int(os.environ["CSST_PROCESSES"]), int(os.environ["CSST_PROCESS_ID"]))
    elif len(os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")) > 1:
        jax.distributed.initialize()
