"""The configuration of a run, out of its workdir: `--config=csst_jax/settings/recorded.py:WORKDIR`.

Commands that take workdirs alone (`csst_jax.evaluate`, `csst_jax.suggest`) load it in place of a configuration file.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from csst_jax.runtime.json_files import read_json
from csst_jax.runtime.storage import as_path, is_remote
from csst_jax.runtime.workdir import CONFIG_FILE
from csst_jax.settings import ranges
from csst_jax.types import CsstError
from csst_jax.user_files import user_path

if TYPE_CHECKING:
    from ml_collections import ConfigDict

log = logging.getLogger(__name__)


def get_config(workdir: str) -> ConfigDict:
    """What the last run in a workdir was asked for.

    Keys that this version adds have their defaults. Keys that it no longer has are named in the log and left out. The
    devices are those of here: `mesh` changes no result.

    Args:
      workdir: of a run, on a disk or in a bucket.

    Raises:
      CsstError: it has no config.json, or that is damaged.
    """
    path = as_path(workdir, "--workdir") / CONFIG_FILE
    if not path.exists():
        raise CsstError(
            f"--workdir={workdir}: there is no {path}. Give the --workdir of a run of csst_jax.main, or --config=FILE."
        )
    found = read_json(path, "Give --config=FILE, the configuration that the run was started with.")
    if not isinstance(found, dict):
        raise CsstError(f"{path} was not written by csst_jax; give --config=FILE, the configuration of the run.")
    config = ranges.defaults()
    known, recorded = ranges.flattened(config), ranges.flattened(found)
    if gone := sorted(recorded.keys() - known.keys()):
        log.warning("%s: %s: keys of another version of csst_jax, left out", path, ", ".join(gone))
    kept = {key: _as_tuples(value) for key, value in recorded.items() if key in known and not key.startswith("mesh.")}
    try:
        config.update_from_flattened_dict(kept)
    except (TypeError, ValueError) as error:
        raise CsstError(f"{path}: {error}. Give --config=FILE, the configuration of the run.") from error
    return config


def with_whole_paths(config: ConfigDict) -> ConfigDict:
    """A configuration as config.json keeps it: it names the same data wherever a later command is started.

    Paths of data are whole ones, but for those in object storage.

    Raises:
      CsstError: a path is none.
    """
    found = config.copy_and_resolve_references()
    for key in ("dir", "labelled_ids"):
        found.data[key] = _whole(found.data[key])
    for key in ("more_labelled", "more_unlabelled"):  # what stands behind a directory has no slash
        entries = found.data[key].split(",")
        whole = ",".join(_whole(entry.strip()) for entry in entries)
        if whole.count(",") < len(entries):  # a comma of the current directory would end an entry
            found.data[key] = whole
    return found


def _whole(path: str) -> str:
    return path if not path.strip() or is_remote(path) else os.path.abspath(user_path(path))


def _as_tuples(value: Any) -> Any:
    """JSON has lists for the tuples of a configuration."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value
