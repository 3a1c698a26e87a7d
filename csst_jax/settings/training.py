"""The settings of a training stage: frozen, typed, checked when they are made.

The types of a room's own settings stand in that room (`Photometry`, `Sgd`, a method's `Settings`).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from csst_jax import registry
from csst_jax.methods import METHODS
from csst_jax.schedules.learning_rate import require_known
from csst_jax.types import CsstError

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
    """

    name: str
    options: Mapping[str, Any]
    dtype: str
    remat: bool
    pretrained: str
    preprocessing: Preprocessing


@dataclasses.dataclass(frozen=True)
class CropSchedule:
    """How many crops of which size, epoch by epoch; see `csst_jax.schedules.crops.phases`."""

    kind: str
    epochs: int
    samples_per_epoch: int
    crop_px: int
    batch_size: int
    num_sizes: int
    stride: int
    max_batch_factor: float

    def __post_init__(self) -> None:
        require_at_least(0, epochs=self.epochs, samples_per_epoch=self.samples_per_epoch)
        require_at_least(1, crop_px=self.crop_px, batch_size=self.batch_size)


@dataclasses.dataclass(frozen=True)
class LearningRate:
    """See `csst_jax.schedules.learning_rate.learning_rate`."""

    base: float
    power: float
    per: str
    batch_rule: str
    warmup_steps: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.base) and self.base > 0):
            raise CsstError(f"lr.base is {self.base}; give a learning rate above 0.")
        require_known(self.per, self.batch_rule)
        require_at_least(0, **{"lr.power": self.power, "lr.warmup_steps": self.warmup_steps})


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
      ohem: whether easy pixels are left out.
      ohem_threshold: ground-truth probability up to which a pixel is hard.
      ohem_min_kept: least share of the valid pixels that is kept.
      aux_weight: of each auxiliary head; None for the network's own.
    """

    name: str
    ohem: bool
    ohem_threshold: float
    ohem_min_kept: float
    aux_weight: float | None


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Which crops an epoch takes.

    Attributes:
      sampler: key of `SAMPLERS` and its settings.
      min_area_px: smallest component of a real label that may be a crop's centre.
      pseudo_min_area_px: the same for pseudo labels.
      real_share: share of draws from real labels; None draws from the union.
      scale_range: magnification of crops, drawn uniformly.
    """

    sampler: Choice
    min_area_px: int
    pseudo_min_area_px: int
    real_share: float | None
    scale_range: tuple[float, float]

    def __post_init__(self) -> None:
        low, high = self.scale_range
        if not 0 < low <= high:
            raise CsstError(f"augment.scale_min={low}, augment.scale_max={high}: give 0 < scale_min <= scale_max.")
        if self.real_share is not None and not 0 <= self.real_share <= 1:
            raise CsstError(f"sampler.real_share is {self.real_share}; give a share from 0 to 1, or -1 for the union.")


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
      loss: on labels.
      sampling: which crops.
      flip: probability of a mirrored crop.
      views: photometry by view.
      nonfinite_steps: steps that may be left out because they are not finite.
      request: what of the configuration's block decides the result, as plain values: the whole, and what differs from
        the defaults.
    """

    network: NetworkChoice
    crops: CropSchedule
    accumulate: int
    learning_rate: LearningRate
    optimizer: Optimizer
    method: Choice
    average_decay: float
    loss: Loss
    sampling: Sampling
    flip: float
    views: Mapping[str, Photometry]
    nonfinite_steps: int
    request: RequestedSettings

    def __post_init__(self) -> None:
        require_at_least(1, accumulate=self.accumulate)
        require_at_least(0, nonfinite_steps=self.nonfinite_steps)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The streams of crops that the method takes."""
        return registry.resolve("method", METHODS, self.method.name).streams

    @property
    def origins(self) -> set[str]:
        """The images that the method's streams can take: of `csst_jax.streams.ORIGINS`."""
        return {origin for stream in self.streams for origin in stream.origins}

    def longer(self, **crops: int) -> Training:
        """The same stage with another length: `epochs` or `samples_per_epoch`."""
        request = RequestedSettings({**self.request.whole, **crops}, {**self.request.differing, **crops})
        changed: Any = crops
        return dataclasses.replace(self, crops=dataclasses.replace(self.crops, **changed), request=request)


def require_at_least(least: int, **numbers: float) -> None:
    """Refuses a number below `least`; the keyword is the key that the message names.

    Raises:
      CsstError: it is below.
    """
    for key, number in numbers.items():
        if number < least:
            raise CsstError(f"{key} is {number}; give a number of at least {least}.")
