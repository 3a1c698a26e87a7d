"""A stage's directory: what it was asked for, whether it is finished, and the refusal to mix it with something else."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import jax

from csst_jax.runtime.json_files import differences, fingerprint, read_json, write_json
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.runtime.storage import StoragePath

STAGE_FILE = "stage.json"
DONE_FILE = "DONE"


class StaleArtifactError(CsstError):
    """A stage's directory was made by other settings or from other inputs than the ones asked for now."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What a stage is asked for, as JSON has it.

    Attributes:
      asked: what is hashed: settings that differ from the defaults, and the hashes of all inputs.
      settings: all settings, with the defaults of this version.
    """

    asked: Mapping[str, Any]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Artifact:
    """One stage's directory.

    `stage.json` holds what the stage was asked for, from its first moment on: settings and the fingerprints of its
    inputs. `DONE` holds its result, and is written last.
    """

    def __init__(self, directory: StoragePath, request: Request):
        """Claims the directory for `request`.

        Raises:
          StaleArtifactError: it belongs to another request; names both hashes and what differs.
        """
        self.directory = directory
        self.request: dict[str, Any] = json.loads(json.dumps(request.asked))
        self.hash = fingerprint(self.request)
        settings = json.loads(json.dumps(request.settings))
        path = directory / STAGE_FILE
        if path.exists():
            self._require_same(read_json(path), settings)
        elif jax.process_index() == 0:  # several writers would take each other's temporary file away
            directory.mkdir(parents=True, exist_ok=True)
            write_json(path, {"hash": self.hash, "request": self.request, "settings": settings})

    def _require_same(self, found: Mapping[str, Any], settings: dict[str, Any]) -> None:
        if found["hash"] != self.hash:
            differing = ", ".join(differences(found["request"], self.request)) or "its inputs"
            raise StaleArtifactError(
                f"{self.directory} was made for another request: hash {found['hash'][:12]} there, {self.hash[:12]} now "
                f"(differs in {differing}). Use another --workdir, or delete {self.directory} to make it again."
            )
        changed = differences(*_shared(found.get("settings", {}), settings))
        if changed:
            raise StaleArtifactError(
                f"{self.directory} was made by a version of csst_jax with other defaults ({', '.join(changed)}). Set "
                f"these keys to the values there to go on, or delete {self.directory} to make it again."
            )

    @property
    def done(self) -> bool:
        """Whether the stage is finished."""
        return (self.directory / DONE_FILE).exists()

    @property
    def result(self) -> dict[str, Any]:
        """What the finished stage reported."""
        return read_json(self.directory / DONE_FILE)

    def finish(self, result: dict[str, Any]) -> None:
        """Marks the stage as finished; of several processes, the first one does."""
        if jax.process_index() == 0:
            write_json(self.directory / DONE_FILE, result)


def _shared(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both, with the keys that both have: a version may know a key that another does not."""
    keys = one.keys() & other.keys()
    nested = {k: _shared(one[k], other[k]) for k in keys if isinstance(one[k], dict) and isinstance(other[k], dict)}
    return tuple({k: nested[k][side] if k in nested else (one, other)[side][k] for k in keys} for side in (0, 1))  # type: ignore[return-value]
