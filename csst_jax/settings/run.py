"""The settings of a run: frozen and typed. `csst_jax.settings.resolve` makes them of values that `ranges` allows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

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
      class_portion: share of each class's pixels, the most confident ones, that keep their label; 0 for all.
      class_portion_growth: what is added to it in every round after the first.
      lower_of_two: whether a pixel needs the lower one of the thresholds of its two most probable classes.
      void_missed: whether pixels become void that may be of a class which is predicted too rarely.
      reliable_share: share of the pool's images, the most reliable ones, that the first round trains on; 0 for all.
      shard_size: images per file.
      soft_k: classes of a soft pseudo label; 0 for hard ones.
      soft_bits: of its stored probabilities.
      request: see `RequestedSettings`.
    """

    averaging: Averaging
    confidence_threshold: float
    class_portion: float
    class_portion_growth: float
    lower_of_two: bool
    void_missed: bool
    reliable_share: float
    shard_size: int
    soft_k: int
    soft_bits: int
    request: RequestedSettings

    @property
    def ranks(self) -> int:
        """How many of a pixel's most probable classes the stage needs."""
        return max(2 if self.void_missed or self.lower_of_two else 1, self.soft_k)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How networks are scored.

    Attributes:
      averaging: over what probabilities are averaged.
      boundary_ratio: of boundary IoU's band; 0 for none.
      batch_size: images per step, for labelling too.
      num_pictures: rows of the contact sheets.
      every_epochs: epochs from one score to the next while a stage trains; 0 for none, -1 for a few.
      images_while_training: images of such a score.
      request: see `RequestedSettings`.
    """

    averaging: Averaging
    boundary_ratio: float
    batch_size: int
    num_pictures: int
    every_epochs: int
    images_while_training: int
    request: RequestedSettings


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


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything that a run is asked for.

    Attributes:
      seed: of initial values, samples and augmentation; a student's is greater by the number of its round.
      stages: the boxes to run.
      rounds: how often the pool is labelled and a student trained; each student is the next round's teacher.
      start_from: the run or the network that the networks continue training from; empty for none.
      data: which images.
      teacher: its training.
      student: likewise.
      finetune_teacher: whether the student is the fine-tuned teacher.
      longer_by: how the control is lengthened, see `csst_jax.build.lengthened`.
      label: how the pool is labelled.
      evaluate: how networks are scored.
      mesh: how devices share the work.
      input: how images are read.
      checkpoint_every_s: seconds between two checkpoints.
      checkpoints_kept: how many stay.
      log_every_steps: steps between two lines of the log.
      profile_steps: first and last step of a trace, from 1; empty for none.
      wandb_project: of Weights & Biases; empty for none.
    """

    seed: int
    stages: frozenset[str]
    rounds: int
    start_from: str
    data: Data
    teacher: Training
    student: Training
    finetune_teacher: bool
    longer_by: str
    label: Labelling
    evaluate: Evaluation
    mesh: Mesh
    input: Input
    checkpoint_every_s: float
    checkpoints_kept: int
    log_every_steps: int
    profile_steps: tuple[int, ...]
    wandb_project: str
