"""The log in Weights & Biases, beside TensorBoard's (`wandb.project`); requirements-wandb.txt has the library."""

from __future__ import annotations

import hashlib
import importlib
import os
from typing import TYPE_CHECKING, Any

from clu import metric_writers

from csst_jax.train.metric_groups import grouped
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.runtime.storage import StoragePath


class WandbWriter(metric_writers.MetricWriter):
    """CLU metric writer: a run in W&B for each stage, which goes on where the stage goes on.

    W&B itself drops steps that it has already. `WANDB_MODE=offline` in the environment writes to the disk alone.
    """

    def __init__(self, project: str, directory: StoragePath):
        """Opens the stage's run.

        Args:
          project: its name.
          directory: the stage's; its path names the run.

        Raises:
          CsstError: wandb is not installed, or refuses.
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
                id=hashlib.sha256(path.encode()).hexdigest()[:16],
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

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Not kept: the run's configuration holds the settings."""

    def write_summaries(self, step: int, values: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
        """Not kept."""

    def write_videos(self, step: int, videos: Mapping[str, Any]) -> None:
        """Not kept."""

    def write_audios(self, step: int, audios: Mapping[str, Any], *, sample_rate: int) -> None:
        """Not kept."""

    def write_histograms(
        self, step: int, arrays: Mapping[str, Any], num_buckets: Mapping[str, int] | None = None
    ) -> None:
        """Not kept."""

    def write_pointcloud(self, step: int, point_clouds: Any, **_: Any) -> None:
        """Not kept."""

    def flush(self) -> None:
        """W&B sends by itself."""

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()
