"""Checkpoints of a training stage, written while training goes on, and trusted only as far as their checksums hold.

Orbax writes each into a temporary directory and renames it, so a failure leaves the old ones. What a disk or a network
does to the files afterwards it does not notice: `<directory>.sha256` has each file's hash.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import logging
import os
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from csst_jax.runtime.json_files import read_json, write_json
from csst_jax.runtime.storage import StoragePath, as_path, files_below, move
from csst_jax.train_state import TrainState
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


class CheckpointError(CsstError):
    """A checkpoint could not be written or read; what was written before is still there."""


class Checkpoints:
    """The newest few states of one stage, by step."""

    def __init__(self, directory: str | os.PathLike[str], keep: int):
        self.directory = as_path(directory)
        self._hashes = self.directory.with_name(self.directory.name + ".sha256")
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(self.directory, options=options)
        self._background = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: tuple[int, concurrent.futures.Future[None]] | None = None
        self._failed = False

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint that is whole on disk; None where there is none."""
        return max(self._steps(), default=None)

    def save(self, state: TrainState) -> None:
        """Begins to write a checkpoint and returns when the state is copied; a step that is there is left as it is.

        Raises:
          CheckpointError: this or the one before could not be written (a full disk, say); names the last good one.
        """
        self.wait()
        step = int(state.step)
        if self.latest_step() == step:
            return
        self._explained(step, lambda: self._manager.save(step, args=ocp.args.StandardSave(_as_tree(state))))
        self._writing = step, self._background.submit(self._seal, step)

    def wait(self) -> None:
        """Returns when all that was saved is on disk.

        Raises:
          CheckpointError: see `save`.
        """
        if self._writing is not None:
            (step, written), self._writing = self._writing, None
            self._explained(step, written.result)

    def restore(self, like: TrainState, step: int) -> TrainState:
        """Reads a checkpoint, laid out over devices as `like` (arrays or shapes with shardings).

        Raises:
          CheckpointError: it is damaged, or its contents have another structure or shape than `like`.
        """
        damage = self._damage(step)
        if damage:
            raise self._unreadable(step, damage)
        return self._read(like, step)

    def restore_newest(self, like: TrainState) -> TrainState | None:
        """The newest state that is not damaged; damaged ones are set aside, and the log names them.

        Returns:
          None if nothing was saved.

        Raises:
          CheckpointError: all are damaged, or see `restore`.
        """
        steps = self._steps()
        damaged = []
        while steps:
            step = steps.pop()
            damage = self._damage(step)
            if not damage:
                return self._read(like, step)
            damaged.append(self._set_aside(step, damage))
            log.warning(
                "the checkpoint of step %d is damaged (%s); it is in %s now, and training continues from %s",
                step,
                damage,
                damaged[-1],
                f"step {steps[-1]}" if steps else "no other",
            )
        if damaged:
            raise CheckpointError(
                f"every checkpoint in {self.directory} was damaged (they are in {damaged[-1].parent}). Run the same "
                "command again to train this stage from its beginning; check the disk first."
            )
        return None

    def close(self) -> None:
        """Waits for what is being written and lets go of Orbax's resources."""
        try:
            self.wait()
        finally:
            self._background.shutdown()
            try:
                self._manager.close()
            except Exception:  # TensorStore and Orbax raise many kinds
                if not self._failed:  # what a failed save raised comes again here, after it was told
                    raise

    def _read(self, like: TrainState, step: int) -> TrainState:
        """See `restore`, of a checkpoint whose hashes were compared."""
        try:
            tree = self._manager.restore(step, args=ocp.args.StandardRestore(_as_tree(like)))
        except Exception as error:  # TensorStore and Orbax raise many kinds
            raise self._unreadable(step, error) from error
        return TrainState(**tree)

    def _unreadable(self, step: int, why: object) -> CheckpointError:
        return CheckpointError(
            f"could not read the checkpoint of step {step} in {self.directory}: {why}\n"
            f"Delete {self.directory / str(step)} to continue from the one before, or use another --workdir."
        )

    def _steps(self) -> list[int]:
        """Steps of the checkpoints that are whole on disk, in order."""
        self.wait()
        self._manager.reload()
        return sorted(self._manager.all_steps())

    def _explained(self, step: int, write: Callable[[], Any]) -> None:
        """Calls `write`; its error names the last good checkpoint and the fix."""
        try:
            write()
        except Exception as error:  # TensorStore and Orbax raise many kinds, ValueError for a full disk among them
            self._failed = True
            good = self.latest_step()
            kept = f"the checkpoint of step {good} is intact" if good is not None else "there is no earlier checkpoint"
            raise CheckpointError(
                f"could not save the checkpoint of step {step} in {self.directory}: {error}\n"
                f"Free space (or repair the disk) and run the same command again; {kept}."
            ) from error

    def _seal(self, step: int) -> None:
        """Waits for Orbax, then notes the hashes; a run that ends in between leaves a checkpoint without any."""
        self._manager.wait_until_finished()
        if jax.process_index() > 0:
            return
        self._hashes.mkdir(exist_ok=True)
        write_json(self._hashes / f"{step}.json", _sha256_of_files(self.directory / str(step)))
        kept = {str(step) for step in self._manager.all_steps()}
        for path in self._hashes.glob("*.json"):
            if path.stem not in kept:
                path.unlink()

    def _damage(self, step: int) -> str:
        """What is wrong with a checkpoint's files, empty if nothing is known; as the first process sees it."""
        found = ""
        path = self._hashes / f"{step}.json"
        if jax.process_index() == 0 and path.exists():
            noted, here = read_json(path), _sha256_of_files(self.directory / str(step))
            wrong = sorted(name for name in {*noted, *here} if noted.get(name) != here.get(name))
            found = f"not as it was written: {', '.join(wrong[:3])}{' …' if len(wrong) > 3 else ''}" if wrong else ""
        if jax.process_count() > 1:
            wrong_there = bool(multihost_utils.broadcast_one_to_all(np.asarray(bool(found))))
            found = found or ("not as it was written" if wrong_there else "")
        return found

    def _set_aside(self, step: int, damage: str) -> StoragePath:
        """Moves a checkpoint to where Orbax does not look."""
        target = self.directory.with_name("damaged_checkpoints") / f"{step}-{time.time_ns()}"
        if jax.process_index() == 0:
            target.parent.mkdir(exist_ok=True)
            write_json(target.with_name(f"{target.name}.json"), {"step": step, "damage": damage})
            move(self.directory / str(step), target)
            (self._hashes / f"{step}.json").unlink()
        multihost_utils.sync_global_devices(f"checkpoint {step} set aside")
        self._manager.reload()
        return target


def _sha256_of_files(directory: StoragePath) -> dict[str, str]:
    """Hash of every file below, by path."""
    found = {}
    for name, path in files_below(directory):
        with path.open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _as_tree(state: TrainState) -> dict[str, Any]:
    return {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
