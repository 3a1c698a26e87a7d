"""The settings of a training stage: frozen and typed; `csst_jax.settings.ranges` knows what each key allows.

The types of a room's own settings stand in that room (`Photometry`, `Sgd`, a method's `Settings`).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from csst_jax import registry
from csst_jax.methods import METHODS
from csst_jax.streams import num_maps, with_soft_labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.data.augment import Photometry
    from csst_jax.models.preprocessing import Preprocessing
    from csst_jax.streams import Stream
    from csst_jax.train import optimizers


@dataclasses.dataclass(frozen=True)
class RequestedSettings:
    """A block of the configuration, as plain values.

    Attributes:
      whole: every key that has an effect on the result.
      differing: of those the ones that differ from the defaults in configs/base.py.
    """

    whole: Mapping[str, Any]
    differing: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Choice:
    """A name out of a registry, with its settings.

    Attributes:
      name: key of `METHODS`, `SAMPLERS`, …
      settings: as its `Settings`.
    """

    name: str
    settings: Any


@dataclasses.dataclass(frozen=True)
class NetworkChoice:
    """Which network, and from which values it starts.

    Attributes:
      name: of the zoo.
      options: of its builder, as far as they are set.
      dtype: that it computes in, float32 or bfloat16.
      remat: whether blocks compute their features again in the backward pass.
      pretrained: file of weights to start from; empty for random ones.
      preprocessing: of the input; with pretrained weights theirs.
      start_rows: of each class, the class of the file whose part of the classifier it starts from, -1 for initial
        values; None takes the classifier as it is, or none of it where the numbers of classes differ.
    """

    name: str
    options: Mapping[str, Any]
    dtype: str
    remat: bool
    pretrained: str
    preprocessing: Preprocessing
    start_rows: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class CropSchedule:
    """How many crops of which size, epoch by epoch; see `csst_jax.schedules.crops.phases`."""

    kind: str
    epochs: int
    samples_per_epoch: int
    crop_px: int
    batch_size: int
    num_sizes: int
    smallest_share: float
    stride: int
    max_batch_factor: float


@dataclasses.dataclass(frozen=True)
class LearningRate:
    """See `csst_jax.schedules.learning_rate.learning_rate`."""

    base: float
    power: float
    per: str
    batch_rule: str
    warmup_steps: int


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Which optimizer, and its rules by parameter name; see `csst_jax.train.optimizers`."""

    settings: optimizers.Optimizer
    rate_factors: tuple[optimizers.Rule, ...]
    decay_factors: tuple[optimizers.Rule, ...]


@dataclasses.dataclass(frozen=True)
class Loss:
    """Of the network's outputs on labels; see `csst_jax.losses.heads.HeadLosses`.

    Attributes:
      name: key of `LOSSES`.
      class_weights: by class; () for 1 each.
      ohem: whether easy pixels are left out.
      ohem_threshold: ground-truth probability up to which a pixel is hard.
      ohem_min_kept: least share of the valid pixels that is kept.
      aux_weight: of each auxiliary head; None for the network's own.
    """

    name: str
    class_weights: tuple[float, ...]
    ohem: bool
    ohem_threshold: float
    ohem_min_kept: float
    aux_weight: float | None


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Which crops an epoch takes.

    Attributes:
      sampler: key of `SAMPLERS` and its settings.
      min_area_px: smallest component of a real label that may be a crop's centre; None: more than a speck of its class
        (see `csst_jax.data.statistics`).
      pseudo_min_area_px: the same for pseudo labels.
      real_share: share of draws from real labels; None draws from the union.
      scale_range: magnification of crops, drawn uniformly.
    """

    sampler: Choice
    min_area_px: int | None
    pseudo_min_area_px: int | None
    real_share: float | None
    scale_range: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Training:
    """One training stage.

    Attributes:
      network: the network.
      crops: the crop schedule.
      accumulate: micro-batches a step.
      learning_rate: its schedule.
      optimizer: the optimizer.
      method: key of `METHODS` and its settings.
      average_decay: of the average of the weights, which then predicts; 0 for none.
      precise_bn_steps: over how many batches batch normalisation is measured at the end; 0 for running averages.
      loss: on labels.
      sampling: which crops.
      flip: probability of a mirrored crop.
      views: photometry by view.
      nonfinite_steps: steps that may be left out because they are not finite.
      snapshots: networks of earlier epochs that are kept.
      request: what of the configuration's block decides the result, as plain values: the whole, and what differs from
        the defaults.
      soft_k: classes of a soft pseudo label; 0 for hard ones.
    """

    network: NetworkChoice
    crops: CropSchedule
    accumulate: int
    learning_rate: LearningRate
    optimizer: Optimizer
    method: Choice
    average_decay: float
    precise_bn_steps: int
    loss: Loss
    sampling: Sampling
    flip: float
    views: Mapping[str, Photometry]
    nonfinite_steps: int
    snapshots: int
    request: RequestedSettings
    soft_k: int = 0

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The streams of crops that the method takes."""
        streams = registry.resolve("method", METHODS, self.method.name).streams_of(self.method.settings)
        return with_soft_labels(streams, self.soft_maps)

    @property
    def soft_maps(self) -> int:
        """Maps of a soft pseudo label beside the hard one; 0 for hard labels."""
        return num_maps(self.soft_k) if self.soft_k else 0

    @property
    def origins(self) -> set[str]:
        """The images that the method's streams can take: of `csst_jax.streams.ORIGINS`."""
        return {origin for stream in self.streams for origin in stream.origins}

    def longer(self, **crops: int) -> Training:
        """The same stage with another length: `epochs` or `samples_per_epoch`."""
        request = RequestedSettings({**self.request.whole, **crops}, {**self.request.differing, **crops})
        changed: Any = crops
        return dataclasses.replace(self, crops=dataclasses.replace(self.crops, **changed), request=request)
