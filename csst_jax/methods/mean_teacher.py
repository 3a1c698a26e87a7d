"""Mean teacher with hard pseudo labels made in the step (Tarvainen and Valpola 2017; FixMatch's weak and strong views).

An average of the network's weights labels the weak view of unlabelled crops; the network learns the labels on the
strong view. What predicts after training is the average. CSST compares itself with this family in §3.1.1 (eq. 4).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from csst_jax.methods.answers import answers, require_below_one, require_not_negative
from csst_jax.methods.average import WeightAverage
from csst_jax.methods.averaged import AVERAGE, AverageTeacher
from csst_jax.methods.base import Objective, kept
from csst_jax.streams import STRONG, WEAK, half_unlabelled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays
    from csst_jax.train_state import TrainState


class MeanTeacher(AverageTeacher):
    """Half of a step's crops are labelled, half are not."""

    streams = half_unlabelled(WEAK, STRONG)

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers.

        Attributes:
          decay: share of the average that a step keeps; early steps keep less.
          confidence_threshold: pixels to whose pseudo label the average gives a smaller probability are not learned.
          weight: weight of the loss on pseudo labels.
          ramp_up_steps: steps after which `weight` is reached. Before, step n (from 1) has n / ramp_up_steps of it.
        """

        decay: float
        confidence_threshold: float
        weight: float
        ramp_up_steps: int

        def __post_init__(self) -> None:
            WeightAverage(self.decay)  # refuses what is out of range
            require_below_one(confidence_threshold=self.confidence_threshold)
            require_not_negative(weight=self.weight, ramp_up_steps=self.ramp_up_steps)

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """As `Method.objective`: the supervised losses, and `unlabelled`.

        The sum of `unlabelled` is over the pixels above the threshold and its count is that of all pixels, so that few
        sure pixels weigh little (UniMatch's convention). Metrics: `kept`, and `confident`, the share of those pixels.
        """
        network, settings = self.parts.network, self.settings
        labelled, unlabelled = (crops[stream.name] for stream in self.streams)
        average = state.method[AVERAGE]
        weak = network.apply_eval(average["params"], average["batch_stats"], unlabelled.images[WEAK])["logits"]
        made = answers(weak, settings.confidence_threshold, unlabelled.valid)

        # Two passes, as in UniMatch V2: joined along the batch, crops would change devices.
        labelled_key, unlabelled_key = jax.random.split(key)
        outputs, stats = network.apply_train(params, state.batch_stats, labelled.images[WEAK], labelled_key)
        losses = self.parts.loss(outputs, labelled.labels)
        outputs, stats = network.apply_train(params, stats, unlabelled.images[STRONG], unlabelled_key)
        losses["unlabelled"] = made.loss(outputs["logits"], settings.weight * self._risen(state.step))
        return Objective(losses, stats, {"kept": kept(losses, labelled), "confident": made.share})

    def _risen(self, step: Array) -> Float[Array, ""]:
        return jnp.minimum(1.0, (step + 1) / jnp.float32(max(1, self.settings.ramp_up_steps)))
