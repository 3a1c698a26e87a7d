"""The settings of a run: frozen, typed, checked when they are made. `csst_jax.settings.resolve` makes them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from csst_jax.settings.training import require_at_least
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from csst_jax.data.chosen import Data
    from csst_jax.evaluation.whole_image import Averaging
    from csst_jax.settings.training import RequestedSettings, Training


@dataclasses.dataclass(frozen=True)
class Labelling:
    """How the pool is labelled.

    Attributes:
      averaging: over what probabilities are averaged.
      confidence_threshold: pixels below become void.
      shard_size: images a file.
      request: see `RequestedSettings`.
    """

    averaging: Averaging
    confidence_threshold: float
    shard_size: int
    request: RequestedSettings

    def __post_init__(self) -> None:
        require_at_least(1, **{"label.shard_size": self.shard_size})
        if not 0 <= self.confidence_threshold < 1:
            raise CsstError(f"label.confidence_threshold is {self.confidence_threshold}; give 0 to below 1.")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How networks are scored.

    Attributes:
      averaging: over what probabilities are averaged.
      boundary_ratio: of boundary IoU's band; 0 for none.
      batch_size: images a step, for labelling too.
      num_pictures: rows of the contact sheets.
      request: see `RequestedSettings`.
    """

    averaging: Averaging
    boundary_ratio: float
    batch_size: int
    num_pictures: int
    request: RequestedSettings

    def __post_init__(self) -> None:
        require_at_least(1, **{"evaluate.batch_size": self.batch_size})
        require_at_least(0, **{"evaluate.num_pictures": self.num_pictures})
        if not 0 <= self.boundary_ratio < 1:
            raise CsstError(f"evaluate.boundary_ratio is {self.boundary_ratio}; give a share of the diagonal, 0 = off.")


@dataclasses.dataclass(frozen=True)
class Mesh:
    """How devices share the work; see `csst_jax.train.sharding`."""

    data: int
    spatial: int
    split_state: bool


@dataclasses.dataclass(frozen=True)
class Input:
    """How a process reads; has no effect on the result."""

    parallel_batches: int
    prefetch: int
    cache_mb: int

    def __post_init__(self) -> None:
        require_at_least(1, **{"input.parallel_batches": self.parallel_batches})
        require_at_least(0, **{"input.prefetch": self.prefetch, "input.cache_mb": self.cache_mb})


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything that a run is asked for.

    Attributes:
      seed: of initial values, samples and augmentation; the student's is one more.
      stages: the boxes to run.
      data: which images.
      teacher: its training.
      student: likewise.
      longer_by: how the control is lengthened, see `csst_jax.build.lengthened`.
      label: how the pool is labelled.
      evaluate: how networks are scored.
      mesh: how devices share the work.
      input: how images are read.
      checkpoint_every_s: seconds between two checkpoints.
      checkpoints_kept: how many stay.
      log_every_steps: steps between two lines of the log.
    """

    seed: int
    stages: frozenset[str]
    data: Data
    teacher: Training
    student: Training
    longer_by: str
    label: Labelling
    evaluate: Evaluation
    mesh: Mesh
    input: Input
    checkpoint_every_s: float
    checkpoints_kept: int
    log_every_steps: int

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32 - 1:  # the student's is one more, and the device takes 32 bits
            raise CsstError(f"seed={self.seed} is out of range; give a number from 0 to {2**32 - 2}.")
        require_at_least(1, **{"checkpoint.keep": self.checkpoints_kept, "log_every_steps": self.log_every_steps})
