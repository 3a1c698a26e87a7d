"""A stage's directory: what it was asked for, whether it is finished, and the refusal to mix it with something else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jax

from csst_jax.runtime.json_files import differences, fingerprint, read_json, write_json
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from csst_jax.runtime.storage import Place

STAGE_FILE = "stage.json"
DONE_FILE = "DONE"


class StaleArtifactError(CsstError):
    """A stage's directory was made by other settings or from other inputs than the ones asked for now."""


class Artifact:
    """One stage's directory.

    `stage.json` holds what the stage was asked for, from its first moment on: settings and the fingerprints of its
    inputs. `DONE` holds its result, and is written last.
    """

    def __init__(self, directory: Place, request: dict[str, Any]):
        """Claims the directory for `request`.

        Raises:
          StaleArtifactError: it belongs to another request; names both hashes and what differs.
        """
        self.directory = directory
        self.request = json.loads(json.dumps(request))
        self.hash = fingerprint(self.request)
        path = directory / STAGE_FILE
        if path.exists():
            found = read_json(path)
            if found["hash"] != self.hash:
                differing = ", ".join(differences(found["request"], self.request)) or "its inputs"
                raise StaleArtifactError(
                    f"{directory} was made for another request: hash {found['hash'][:12]} there, {self.hash[:12]} now "
                    f"(differs in {differing}). Use another --workdir, or delete {directory} to make it again."
                )
        elif jax.process_index() == 0:  # several writers would take each other's temporary file away
            directory.mkdir(parents=True, exist_ok=True)
            write_json(path, {"hash": self.hash, "request": self.request})

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
