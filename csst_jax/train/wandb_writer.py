"""The log in Weights & Biases, beside TensorBoard's (`wandb.project`); requirements-wandb.txt has the library."""

from __future__ import annotations

import importlib
import os
import uuid
from typing import TYPE_CHECKING, Any

from csst_jax.runtime.json_files import read_json, write_json
from csst_jax.runtime.workdir import WANDB_FILE
from csst_jax.train.metric_groups import grouped
from csst_jax.train.some_metrics import SomeMetrics
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.runtime.storage import StoragePath


class WandbWriter(SomeMetrics):
    """CLU metric writer: a run in W&B for each stage, which goes on where the stage goes on.

    W&B itself drops steps that it has already, so a stage that begins anew in the same place gets another run; the id
    is in the stage's directory. `WANDB_MODE=offline` in the environment writes to the disk alone.
    """

    def __init__(self, project: str, directory: StoragePath, resume_step: int):
        """Opens the stage's run.

        Args:
          project: its name.
          directory: the stage's; its path names the run.
          resume_step: steps that are over; with 0 the stage begins, and its run in W&B, too.

        Raises:
          CsstError: wandb is not installed, or refuses, or what is kept of the run is damaged.
        """
        try:
            self._wandb = importlib.import_module("wandb")
        except ImportError as error:
            raise CsstError(
                f"wandb.project={project} needs wandb: python -m pip install -r requirements-wandb.txt"
            ) from error
        path = os.fspath(directory)
        try:
            self._run = self._wandb.init(
                project=project,
                name=f"{directory.parent.name}/{directory.name}",
                id=_run_id(directory, resume_step),
                resume="allow",
                dir=None if "://" in path else path,
            )
        except self._wandb.Error as error:
            raise CsstError(
                f"wandb.project={project}: {error}. Run `wandb login`, or set WANDB_MODE=offline in the environment."
            ) from error

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Logs scalars by group."""
        self._run.log({name: float(value) for name, value in grouped(scalars).items()}, step=step)

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        """Logs pictures, uint8 or float arrays [h, w, c] or [n, h, w, c]."""
        several = {name: image if image.ndim == 4 else image[None] for name, image in images.items()}
        self._run.log({name: [self._wandb.Image(one) for one in many] for name, many in several.items()}, step=step)

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Becomes the run's configuration."""
        self._run.config.update(dict(hparams), allow_val_change=True)

    def flush(self) -> None:
        """W&B sends by itself."""

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


def _run_id(directory: StoragePath, resume_step: int) -> str:
    """The id of the stage's run, kept from the stage's first step on; a new one where none was kept."""
    path = directory / WANDB_FILE
    if resume_step and path.exists():
        return str(read_json(path, "Delete it: W&B then shows the rest of this stage as a run of its own.")["id"])
    made = uuid.uuid4().hex[:16]
    write_json(path, {"id": made})
    return made
