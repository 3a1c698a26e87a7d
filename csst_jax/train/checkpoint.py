"""Checkpoints of a training stage: Orbax writes them beside the old ones and renames, so a failure leaves the old."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from typing import TYPE_CHECKING, Any

import orbax.checkpoint as ocp

from csst_jax.train.state import TrainState
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import os

log = logging.getLogger(__name__)


class CheckpointError(CsstError):
    """A checkpoint could not be written or read; what was written before is still there."""


class Checkpoints:
    """The newest few states of one stage, by step."""

    def __init__(self, directory: str | os.PathLike[str], keep: int):
        self.directory = pathlib.Path(directory).resolve()
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint; None where there is none."""
        return self._manager.latest_step()

    def save(self, state: TrainState) -> None:
        """Writes a checkpoint; a step that is there already is left as it is. Returns when it is on disk.

        Raises:
          CheckpointError: writing failed (a full disk, say); names the last good checkpoint.
        """
        step = int(state.step)
        good = self.latest_step()
        if good == step:
            return
        try:
            self._manager.save(step, args=ocp.args.StandardSave(_as_tree(state)))
            self._manager.wait_until_finished()
        except Exception as error:  # TensorStore and Orbax raise many kinds, ValueError for a full disk among them
            kept = f"the checkpoint of step {good} is intact" if good is not None else "there is no earlier checkpoint"
            raise CheckpointError(
                f"could not save the checkpoint of step {step} in {self.directory}: {error}\n"
                f"Free space (or mend the disk) and run the same command again; {kept}."
            ) from error

    def restore(self, like: TrainState, step: int | None = None) -> TrainState:
        """Reads a checkpoint, laid out over devices as `like` (arrays or shapes with shardings).

        Raises:
          CheckpointError: it cannot be read, or its contents have another structure or shape than `like`.
        """
        step = self.latest_step() if step is None else step
        try:
            tree = self._manager.restore(step, args=ocp.args.StandardRestore(_as_tree(like)))
        except Exception as error:  # see save
            raise CheckpointError(
                f"could not read the checkpoint of step {step} in {self.directory}: {error}\n"
                f"Delete {self.directory / str(step)} to go on from the one before, or use another --workdir."
            ) from error
        return TrainState(**tree)

    def close(self) -> None:
        """Lets go of Orbax's resources."""
        self._manager.close()


def _as_tree(state: TrainState) -> dict[str, Any]:
    return {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
