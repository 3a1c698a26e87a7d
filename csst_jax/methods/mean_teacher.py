"""Mean teacher with hard pseudo labels made in the step (Tarvainen and Valpola 2017; FixMatch's weak and strong views).

An average of the network's weights labels the weak view of unlabelled crops; the network learns the labels on the
strong view. What predicts after training is the average. CSST compares itself with this family in §3.1.1 (eq. 4).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import MAIN, Loss
from csst_jax.methods.average import WeightAverage
from csst_jax.methods.averaged import AVERAGE, AverageTeacher
from csst_jax.methods.base import Objective
from csst_jax.streams import REAL, STRONG, UNLABELLED, WEAK, Stream
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays
    from csst_jax.train_state import TrainState


class MeanTeacher(AverageTeacher):
    """Half of a step's crops are labelled, half are not."""

    streams = (Stream("labelled", (REAL,)), Stream("unlabelled", (UNLABELLED,), (WEAK, STRONG)))

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers.

        Attributes:
          decay: of the average, see `WeightAverage`.
          confidence_threshold: pixels whose pseudo label the average gives a smaller probability are not learned.
          weight: of the loss on pseudo labels.
          ramp_up_steps: steps in which that weight rises from 0, linearly.
        """

        decay: float
        confidence_threshold: float
        weight: float
        ramp_up_steps: int

        def __post_init__(self) -> None:
            WeightAverage(self.decay)  # refuses what is out of range
            if not 0 <= self.confidence_threshold < 1:
                raise CsstError(f"confidence_threshold is {self.confidence_threshold}; give a probability below 1.")
            if self.weight < 0 or self.ramp_up_steps < 0:
                raise CsstError(f"weight is {self.weight}, ramp_up_steps {self.ramp_up_steps}; give 0 or more.")

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """As `Method.objective`: the supervised losses, and `unlabelled`.

        The sum of `unlabelled` is over the pixels above the threshold and its count is that of all pixels, so that few
        sure pixels weigh little (UniMatch's convention). Metrics: `kept`, and `confident`, the share of those pixels.
        """
        network, settings = self.parts.network, self.settings
        labelled, unlabelled = (crops[stream.name] for stream in self.streams)
        average = state.method[AVERAGE]
        weak = network.apply_eval(average["params"], average["batch_stats"], unlabelled.images[WEAK])["logits"]
        pseudo, confident = pseudo_labels(jax.lax.stop_gradient(weak), settings.confidence_threshold)
        confident &= unlabelled.valid

        # Two passes, as in UniMatch V2: joined along the batch, crops would change devices.
        labelled_key, unlabelled_key = jax.random.split(key)
        outputs, stats = network.apply_train(params, state.batch_stats, labelled.images[WEAK], labelled_key)
        losses = self.parts.loss(outputs, labelled.labels)
        outputs, stats = network.apply_train(params, stats, unlabelled.images[STRONG], unlabelled_key)
        values = cross_entropy(outputs["logits"], pseudo, confident)
        pixels = jnp.sum(unlabelled.valid, dtype=jnp.float32)
        losses["unlabelled"] = Loss(values.sum(), pixels, settings.weight * self._risen(state.step))
        valid = jnp.sum(labelled.valid, dtype=jnp.float32)
        metrics = {
            "kept": losses[MAIN].count / jnp.maximum(valid, 1.0),
            "confident": jnp.sum(confident, dtype=jnp.float32) / jnp.maximum(pixels, 1.0),
        }
        return Objective(losses, stats, metrics)

    def _risen(self, step: Array) -> Float[Array, ""]:
        return jnp.minimum(1.0, (step + 1) / jnp.float32(max(1, self.settings.ramp_up_steps)))


def pseudo_labels(
    logits: Float[Array, "b h w c"], threshold: float | Float[Array, " c"]
) -> tuple[Int[Array, "b h w"], Bool[Array, "b h w"]]:
    """The most probable class of each pixel, int32, and whether its probability reaches the threshold (its class's)."""
    highest = jnp.max(logits, -1)
    labels = jnp.argmax(logits, -1).astype(jnp.int32)
    probability = 1.0 / jnp.sum(jnp.exp(logits - highest[..., None]), -1)  # of the highest: its exponential is 1
    return labels, probability >= (threshold if isinstance(threshold, float | int) else threshold[labels])
