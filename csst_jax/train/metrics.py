"""Where metrics go: CLU's TensorBoard writer, a JSON-lines file that any script can read, Weights & Biases if asked."""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from clu import metric_writers

from csst_jax.runtime.storage import Mirror, as_path, replacing
from csst_jax.runtime.workdir import METRICS_FILE
from csst_jax.train.metric_groups import grouped
from csst_jax.train.some_metrics import SomeMetrics
from csst_jax.train.wandb_writer import WandbWriter


class GroupedSummaryWriter(metric_writers.SummaryWriter):
    """CLU's TensorBoard writer, which shows scalars in groups (see `grouped`)."""

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes each scalar under its group's name."""
        super().write_scalars(step, grouped(scalars))


class JsonLinesWriter(SomeMetrics):
    """CLU metric writer: one JSON object a call, `{"step": …, name: value, …}`; scalars alone.

    A value that is not finite is null, since JSON has neither NaN nor infinity.
    A run that resumes at step k drops the lines after k first: they are about to be written again.
    """

    def __init__(self, directory: str | os.PathLike[str], resume_step: int):
        self._path = pathlib.Path(directory) / METRICS_FILE
        if self._path.exists():
            lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if _step_of(line) is not None and (_step_of(line) or 0) <= resume_step]
            with replacing(self._path) as made:
                made.write_text("".join(kept), encoding="utf-8")
        self._file = self._path.open("a", encoding="utf-8")

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Appends one line."""
        values = {name: float(value) for name, value in scalars.items()}
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": int(step), **finite}, allow_nan=False) + "\n")

    def flush(self) -> None:
        """Hands lines to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Flushes and closes the file."""
        self._file.close()


def _step_of(line: str) -> int | None:
    """None for a line that a killed run left unfinished."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return None


def make_writer(
    directory: str | os.PathLike[str], resume_step: int, *, write: bool, wandb_project: str = ""
) -> metric_writers.MetricWriter:
    """TensorBoard events and JSON lines in `directory`; nothing where `write` is false (all processes but one).

    Args:
      directory: the stage's.
      resume_step: steps that are over.
      write: whether this process writes.
      wandb_project: of Weights & Biases, which gets the same; empty for none.

    Raises:
      CsstError: Weights & Biases is asked for and not installed, or refuses.
    """
    if not write:
        return metric_writers.MultiWriter([])
    directory = as_path(directory)
    more = [WandbWriter(wandb_project, directory, resume_step)] if wandb_project else []
    if isinstance(directory, pathlib.Path):
        return metric_writers.MultiWriter([*_writers(directory, resume_step), *more])
    return _MirroredWriter(Mirror(directory), resume_step, more)


def _writers(directory: pathlib.Path, resume_step: int) -> list[metric_writers.MetricWriter]:
    return [GroupedSummaryWriter(os.fspath(directory)), JsonLinesWriter(directory, resume_step)]


class _MirroredWriter(metric_writers.MultiWriter):
    """Both in a local directory, which is copied to a bucket."""

    def __init__(self, mirror: Mirror, resume_step: int, more: Sequence[metric_writers.MetricWriter]):
        mirror.fetch(METRICS_FILE)
        self._mirror = mirror
        super().__init__([*_writers(mirror.directory, resume_step), *more])

    def close(self) -> None:
        super().close()
        self._mirror.close()
