"""A stage's directory: what it was asked for, whether it is finished, and the refusal to mix it with something else."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

import jax

from csst_jax.runtime.json_files import differences, fingerprint, read_json, shared, write_json
from csst_jax.runtime.workdir import DONE_FILE, STAGE_FILE
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from csst_jax.runtime.storage import StoragePath

ELAPSED_FILE = "elapsed.json"
_FILES = "files_sha256"
_DATA = ("labels_sha256.real", "records_sha256.real", "images_sha256")
"""Inputs of a request that the data set alone decides."""


class StaleArtifactError(CsstError):
    """A stage's directory was made by other settings or from other inputs than the ones asked for now."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What a stage is asked for, as JSON has it.

    Attributes:
      asked: what is hashed: settings that differ from the defaults, and the hashes of all inputs.
      settings: all settings, with the defaults of this version.
      files_sha256: hash of the files of all images that the stage reads; empty if the data set was prepared by a
        version that kept none.
    """

    asked: Mapping[str, Any]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    files_sha256: str = ""


class Artifact:
    """One stage's directory.

    `stage.json` holds what the stage was asked for, from its first moment on: settings and the fingerprints of its
    inputs. `DONE` holds its result, and is written last. A directory in which nothing was made yet, because the stage
    was refused or did not fit the memory, belongs to nobody: another request takes it.
    """

    def __init__(self, directory: StoragePath, request: Request):
        """Claims the directory for `request`.

        Raises:
          StaleArtifactError: it has the work of another request; names what differs.
        """
        self.directory = directory
        self.request: dict[str, Any] = json.loads(json.dumps(request.asked))
        self.hash = fingerprint(self.request)
        settings = json.loads(json.dumps(request.settings))
        path = directory / STAGE_FILE
        if path.exists() and has_work(directory):
            fix = (
                "Delete this file and run the same command again, if the settings are still those that this directory "
                "was made with."
            )
            self._require_same(read_json(path, fix), settings, request.files_sha256)
        elif jax.process_index() == 0:  # several writers would take each other's temporary file away
            directory.mkdir(parents=True, exist_ok=True)
            (directory / ELAPSED_FILE).unlink(missing_ok=True)
            about = {"hash": self.hash, "request": self.request, "settings": settings}
            write_json(path, about | {_FILES: request.files_sha256})

    def _require_same(self, found: Mapping[str, Any], settings: dict[str, Any], files_sha256: str) -> None:
        if found["hash"] != self.hash:
            there, here = found["request"].get("settings", {}), self.request.get("settings", {})
            old = {**found["request"], "settings": _completed(there, found.get("settings", {}), here)}
            new = {**self.request, "settings": _completed(here, settings, there)}
            lines = differences(old, new)
            if any(line.startswith(_DATA) for line in lines):
                others = [line for line in lines if not line.startswith(_DATA)]
                raise StaleArtifactError(
                    f"The data set has changed since {self.directory} was made"
                    f"{'; what else differs: ' if others else ''}{', '.join(others)}. To continue training on the new "
                    f"data, use another --workdir and --config.start_from={self.directory.parent}. To begin anew, use "
                    f"another --workdir alone, or delete {self.directory}."
                )
            raise StaleArtifactError(
                f"{self.directory} holds the work of other settings or inputs. What differs: "
                f"{', '.join(lines) or 'its inputs'}. Use another --workdir for the new settings, or set the "
                f"values that are there to continue that work, or delete {self.directory} to make it again."
            )
        changed = differences(*shared(found.get("settings", {}), settings))
        if changed:
            raise StaleArtifactError(
                f"{self.directory} was made by a version of csst_jax with other defaults ({', '.join(changed)}). Set "
                f"these keys to the values that are there to continue, or delete {self.directory} to make it again."
            )
        then = found.get(_FILES, "")
        if then and files_sha256 and then != files_sha256:
            raise StaleArtifactError(
                f"{self.directory} was made from images that have changed since: the data set has other files under "
                f"the same names. Use another --workdir for these images, or delete {self.directory} to make it again."
            )

    @contextlib.contextmanager
    def clock(self) -> Iterator[Callable[[], float]]:
        """Gives a function: seconds that the stage took so far, in this process and in earlier ones that ended tidily.

        A process that is killed leaves no time behind. Of several processes, only the first one counts earlier ones.
        """
        path, begin = self.directory / ELAPSED_FILE, time.perf_counter()
        # Only the first process tells the time, and it removes the file while others may still begin.
        before = read_json(path)["seconds"] if jax.process_index() == 0 and path.exists() else 0.0

        def elapsed() -> float:
            return float(before) + time.perf_counter() - begin

        try:
            yield elapsed
        finally:
            if jax.process_index() == 0 and not self.done:
                with contextlib.suppress(OSError):  # what went wrong before matters more
                    write_json(path, {"seconds": elapsed()})

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
            (self.directory / ELAPSED_FILE).unlink(missing_ok=True)


def has_work(directory: StoragePath) -> bool:
    """Whether there is something in a stage's directory that the stage would go on from."""
    made = (DONE_FILE, "*.safetensors", "checkpoints/[0-9]*", "parts/*.json", "thresholds.json")
    return any(True for pattern in made for _ in directory.glob(pattern))


def _completed(differing: Mapping[str, Any], whole: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the defaults, with the defaults of what differs in the other request: for people."""
    found = dict(differing)
    for key, value in other.items():
        if isinstance(value, dict):
            found[key] = _completed(differing.get(key, {}), whole.get(key, {}), value)
        elif key not in differing and key in whole:
            found[key] = whole[key]
    return found
