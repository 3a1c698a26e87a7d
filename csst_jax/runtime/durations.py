"""How long compilations took the last time, so that a person can be told how long they will take now.

Kept in one file beside JAX's cache of compiled programs, as they take less when it has them.
"""

from __future__ import annotations

import contextlib
import json
import pathlib

import jax

from csst_jax.runtime.json_files import write_json
from csst_jax.runtime.storage import is_remote

_FILE = "csst_jax_seconds.json"
_MOST = 1000  # entries; the oldest are dropped


def key(*parts: object) -> str:
    """What names a program: the given parts, and the devices that it is compiled for."""
    device = jax.devices()[0]
    return ", ".join(map(str, (*parts, f"{jax.device_count()} {device.device_kind}")))


def last(name: str) -> float | None:
    """Seconds that a program took the last time; None if it is new here."""
    return _read().get(name)


def words(name: str) -> str:
    """The same for people; empty if it is new here."""
    seconds = last(name)
    return "" if seconds is None else f" (it took {seconds:.0f} s the last time)"


def note(name: str, seconds: float) -> None:
    """Keeps what it took. Only a guess for people hangs on this file: if it cannot be written, nothing is."""
    path = _path()
    if path is None or jax.process_index() > 0:
        return
    entries = {known: value for known, value in _read().items() if known != name}
    entries[name] = round(seconds, 1)
    with contextlib.suppress(OSError):
        write_json(path, dict(list(entries.items())[-_MOST:]))


def _path() -> pathlib.Path | None:
    """None without a cache, or with one in a bucket."""
    directory = jax.config.values["jax_compilation_cache_dir"]
    return None if not directory or is_remote(directory) else pathlib.Path(directory) / _FILE


def _read() -> dict[str, float]:
    path = _path()
    try:
        found = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or another process was ended while it wrote
        return {}
    known = found.items() if isinstance(found, dict) else ()
    return {str(name): float(value) for name, value in known if isinstance(value, int | float)}
