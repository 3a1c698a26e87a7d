"""What a training method is: the crops it takes, its objective, its own state, and the weights that predict.

The step, the mesh, checkpoints, plans and labelling know a method by this contract alone; docs/extending.md adds one.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from csst_jax.losses.heads import MAIN, HeadLosses, Loss
from csst_jax.models import nnx_io
from csst_jax.train_state import TrainState
from csst_jax.types import IGNORE_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flax import nnx

    from csst_jax.models.nnx_io import Arrays, Network
    from csst_jax.streams import Stream


@dataclasses.dataclass(frozen=True)
class Crops:
    """One stream's crops of a step, on the device, after augmentation.

    Attributes:
      images: by view, float32 "b h w 3", normalised; all views show the same pixels in the same places.
      labels: uint8 "b h w": class indices, 255 = void or padding; in a stream without labels 0 in the image, and 255
        where the crop lies outside it.
      keys: each crop's own, by (seed, epoch, position in the epoch) alone: for draws that a resumed run, or one on
        other devices, makes again.
      soft: uint8 "b h w n", beside each label the other classes of a soft pseudo label (paper eq. 6), n / 2 of them,
        and behind these their probabilities in 255ths; the label has what is left of 1. All 0 at real labels. None
        where the run has hard labels, or the stream no pseudo labels.
      pseudo: whether each crop's label is a pseudo label; None where the stream is not marked.
    """

    images: Mapping[str, Float[Array, "b h w 3"]]
    labels: UInt8[Array, "b h w"]
    keys: Key[Array, " b"]
    soft: UInt8[Array, "b h w n"] | None = None
    pseudo: Bool[Array, " b"] | None = None

    @property
    def valid(self) -> Bool[Array, "b h w"]:
        """Pixels that have a label, or, in a stream without labels, that are the image's."""
        return self.labels != IGNORE_LABEL


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a method makes of a batch.

    Attributes:
      losses: before reduction, by name; see `csst_jax.losses.heads.total`.
      batch_stats: the new running statistics.
      metrics: further float32 scalars for the log, by name.
    """

    losses: dict[str, Loss]
    batch_stats: Arrays
    metrics: dict[str, Float[Array, ""]]


@dataclasses.dataclass(frozen=True)
class Parts:
    """What methods are made of.

    Attributes:
      network: the stage's network with its initial values.
      loss: of the network's outputs on labels.
      another: from a number (1, 2, …) to the same network with other initial values: for methods that train several.
      own: from a number and a builder (called with `rngs`) to a module of the method's own, with initial values where
        `network` has them.
      steps: of the whole training; 0 where nobody knows.
      num_classes: of the logits.
    """

    network: Network
    loss: HeadLosses
    another: Callable[[int], Network]
    own: Callable[[int, Callable[..., nnx.Module]], Network] = lambda number, build: nnx_io.create(build, number)
    steps: int = 0
    num_classes: int = dataclasses.field(kw_only=True)

    def progress(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """Share of the training that is done before a step, float32 in 0 to 1."""
        return jnp.minimum(step.astype(jnp.float32) / max(1, self.steps), 1.0)


@dataclasses.dataclass(frozen=True)
class Method:
    """Base of all methods: trains the network's own parameters, has no state of its own, predicts with what it trains.

    A method overrides `streams`, `Settings` and `objective`, and of the others what it needs. All but `trained` are
    traced: no Python value may depend on an array's content.

    Attributes:
      settings: the method's block of the configuration (`method.<name>`), as its `Settings`.
      parts: see `Parts`.
    """

    settings: Any
    parts: Parts

    streams: ClassVar[tuple[Stream, ...]]
    """The crops of a step; see `csst_jax.streams.Stream`. Where settings decide, a property, and `streams_of`."""

    joint: ClassVar[bool] = False
    """Whether each pass in training mode has as many crops as the streams have together, or more.

    They share the statistics of the network's layers. Where it is False, a pass may see the crops of one stream alone.
    """

    predicts_average: ClassVar[bool] = False
    """Whether `predicting` gives an average of the weights, so that `average_decay` would change nothing."""

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """No setting. Override with a dataclass whose `__post_init__` refuses what is out of range."""

    def __post_init__(self) -> None:
        """Override to refuse a network that the method cannot train."""

    @classmethod
    def streams_of(cls, settings: Any) -> tuple[Stream, ...]:
        """`streams` of a method with these settings: known before there is a network."""
        del settings
        return cls.streams

    @classmethod
    def mixes(cls, settings: Any, stream: Stream) -> bool:
        """Whether a stream's crops are mixed with each other (`csst_jax.methods.mixing`), which takes two of them.

        By default those without labels are, where a setting `cutmix` is above 0.
        """
        return not stream.labelled and getattr(settings, "cutmix", 0.0) > 0

    def trained(self) -> tuple[Arrays, Arrays]:
        """Initial (parameters, running statistics) that the optimizer trains, float32 by dotted name.

        By default the network's. A method that trains more adds arrays under a prefix of its own.
        """
        return self.parts.network.params, self.parts.network.batch_stats

    def init(self, params: Arrays, batch_stats: Arrays) -> Any:
        """The method's own state at step 0: a pytree of arrays, {} by default.

        Args:
          params: what `trained` gave.
          batch_stats: likewise.
        """
        del params, batch_stats
        return {}

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """The losses of a batch, or of a micro-batch.

        Args:
          params: to differentiate by; gathered, where `state.params` may be split over devices.
          state: of the step's beginning: `step`, `batch_stats` and `method` may be read; under accumulation
            `batch_stats` are those of the micro-batch before.
          crops: by stream.
          key: for dropout and the method's own draws; of the step, and under accumulation of the micro-batch.
        """
        raise NotImplementedError

    def after(self, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Any:
        """The method's own state after the optimizer's update; unchanged by default.

        It has all crops at once: `accumulate` does not bound what passes of the network take here.

        Args:
          state: after the update, with the method's state of before.
          crops: of the whole step, by stream.
          key: of the step; another one than `objective` had.
        """
        del crops, key
        return state.method

    def predicting(self, state: TrainState) -> tuple[Arrays, Arrays]:
        """(parameters, running statistics) of the network that predicts: what is labelled, scored, drawn and kept."""
        return state.params, state.batch_stats


def kept(losses: Mapping[str, Loss], labelled: Crops) -> Float[Array, ""]:
    """The metric of that name: the share of the labelled pixels that the main loss counts. 1 without OHEM."""
    return losses[MAIN].count / jnp.maximum(jnp.sum(labelled.valid, dtype=jnp.float32), 1.0)
