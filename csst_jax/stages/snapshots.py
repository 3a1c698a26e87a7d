"""Networks of earlier epochs, kept beside the one that a training stage ends with."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax

from csst_jax.models.weights import files
from csst_jax.runtime.patience import told
from csst_jax.settings.rounds import snapshot_epochs
from csst_jax.stages import model_file
from csst_jax.train.timetable import Timetable
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from clu.metric_writers import MetricWriter

    from csst_jax.models.weights.files import Description
    from csst_jax.runtime.storage import StoragePath
    from csst_jax.stages.model_file import Trained
    from csst_jax.train.step import Recipe
    from csst_jax.train.watch import Watch
    from csst_jax.train_state import TrainState
    from csst_jax.types import Phase

    Values = dict[str, np.ndarray]

DIRECTORY = "snapshots"
"""In the stage's: a file of weights for each, named by its step."""


class Snapshots:
    """See `csst_jax.train.watch.Watch`. A file is written before any checkpoint of its step or a later one is.

    A run that goes on from an earlier checkpoint comes to the same step again, and writes the same file.
    """

    def __init__(
        self, directory: StoragePath, recipe: Recipe, phases: Sequence[Phase], count: int, describe: Description
    ):
        """Plans the steps.

        Args:
          directory: of the stage.
          recipe: of its step; what its method predicts with is kept.
          phases: one an epoch.
          count: how many to keep.
          describe: of the network; the step is filled in.
        """
        timetable = Timetable(phases)
        self.steps = tuple(timetable.end(epoch - 1) for epoch in snapshot_epochs(len(phases), count))
        self._directory, self._recipe, self._description = directory / DIRECTORY, recipe, describe

    def begin(self, start: int) -> None:
        """Removes what an attempt with another timetable left, which died before its first checkpoint."""
        del start
        if jax.process_index() == 0:
            for path in self._directory.glob("*.safetensors"):
                if int(path.stem) not in self.steps:
                    path.unlink()

    def prepare(self) -> None:
        """See `Watch`."""

    def due(self, step: int) -> bool:
        """See `Watch`."""
        return step in self.steps

    def close(self) -> None:
        """See `Watch`."""

    def look(self, step: int, state: TrainState, writer: MetricWriter, given_up: Callable[[], bool]) -> None:
        """Writes the network, also where a stop is asked for: it takes as long as a checkpoint."""
        del writer, given_up
        params, stats = model_file.predicting(self._recipe, state)
        if jax.process_index() == 0:
            with told(f"keeping the network of step {step}"):
                self._directory.mkdir(parents=True, exist_ok=True)
                description = dataclasses.replace(self._description, steps=step)
                files.write(self._directory / f"{step:08d}.safetensors", params | stats, description)


class Watches:
    """Several of them, one after the other; see `csst_jax.train.watch.Watch`."""

    def __init__(self, watches: Sequence[Watch | None]):
        """Takes those that are not None."""
        self._all = [watch for watch in watches if watch is not None]

    def begin(self, start: int) -> None:
        """See `Watch`."""
        for watch in self._all:
            watch.begin(start)

    def prepare(self) -> None:
        """See `Watch`."""
        for watch in self._all:
            watch.prepare()

    def due(self, step: int) -> bool:
        """See `Watch`."""
        return any(watch.due(step) for watch in self._all)

    def look(self, step: int, state: TrainState, writer: MetricWriter, given_up: Callable[[], bool]) -> None:
        """See `Watch`."""
        for watch in self._all:
            if watch.due(step):
                watch.look(step, state, writer, given_up)

    def close(self) -> None:
        """See `Watch`."""
        for watch in self._all:
            watch.close()


def measure(stage: StoragePath, measured: Callable[[Values, Values], Values]) -> None:
    """Gives the networks of earlier epochs measured statistics of batch normalisation, as the stage's last one has.

    `csst_jax.stages.reliability` compares them with that one: where they differ in what their statistics are of, they
    differ by more than what was learned between them. All processes take part.

    Args:
      stage: its directory.
      measured: the statistics of (params, running statistics), float32 by dotted name. Those of a network that an
        interrupted attempt measured already come out as they are, but for rounding. Networks without batch
        normalisation stay as they are.

    Raises:
      CsstError: a file is damaged.
    """
    for path in _files(stage):
        network = model_file.load(path)
        params, stats = network.weights
        if not stats:  # no batch normalisation
            return
        found = measured(params, stats)
        if jax.process_index() == 0:
            files.write(path, params | found, network.description)


def read(stage: StoragePath, count: int) -> list[Trained]:
    """A finished stage's snapshots, in the order of their steps.

    Args:
      stage: its directory.
      count: how many it was asked to keep.

    Raises:
      CsstError: there are others.
    """
    found = _files(stage)
    if len(found) != count:
        raise CsstError(
            f"{stage / DIRECTORY} has {len(found)} networks of earlier epochs, and {count} belong there; delete "
            f"{stage} to train it again."
        )
    return [model_file.load(path) for path in found]


def _files(stage: StoragePath) -> list[StoragePath]:
    return sorted((stage / DIRECTORY).glob("*.safetensors"), key=lambda path: path.name)
