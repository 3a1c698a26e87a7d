"""Consistency regularisation: one network learns its own pseudo labels in one stage (paper §3.1.1, eq. 4; Table 2).

With a threshold and CutMix it is FixMatch for segmentation, after UniMatch's authors (0324f3d `fixmatch.py`). There one
pass in training mode has labelled crops and weak views, and gives the labels. CutMix pastes from a second batch, which
is labelled in evaluation mode. Here all labels are made in evaluation mode, each kind of crops has a pass of its own,
and CutMix pastes the next crop of the batch.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
from jaxtyping import Array, Float

from csst_jax.methods.answers import answers, require_below_one, require_not_negative
from csst_jax.methods.base import Method, Objective, kept
from csst_jax.methods.mixing import mix_boxes, pasted, require_probability
from csst_jax.streams import STRONG, WEAK, half_unlabelled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays
    from csst_jax.train_state import TrainState


class Consistency(Method):
    """Half of a step's crops are labelled, half are not."""

    streams = half_unlabelled(WEAK, STRONG)

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers.

        Attributes:
          confidence_threshold: pixels whose pseudo label has a smaller probability are not learned; 0 learns all.
          weight: weight of the loss on pseudo labels.
          cutmix: probability that a strong crop gets a box of the next one, and the box's pseudo labels.
        """

        confidence_threshold: float
        weight: float
        cutmix: float

        def __post_init__(self) -> None:
            require_below_one(confidence_threshold=self.confidence_threshold)
            require_not_negative(weight=self.weight)
            require_probability("cutmix", self.cutmix)

    def threshold(self, state: TrainState) -> float | Float[Array, " c"]:
        """Least probability of a label that is learned, of all classes or by class."""
        del state
        return self.settings.confidence_threshold

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """As `Method.objective`: the supervised losses, and `unlabelled` (see `Answers.loss`).

        The network labels the weak view in evaluation mode. Metrics: `kept`, and `confident`, the share of pixels
        whose label is sure enough.
        """
        network, settings = self.parts.network, self.settings
        labelled, unlabelled = (crops[stream.name] for stream in self.streams)
        weak = network.apply_eval(params, state.batch_stats, unlabelled.images[WEAK])["logits"]
        made = answers(weak, self.threshold(state), unlabelled.valid)
        confident, strong = made.share, unlabelled.images[STRONG]
        if settings.cutmix:
            inside = mix_boxes(unlabelled, settings.cutmix)
            made, strong = made.mixed(inside), pasted(inside, strong)

        labelled_key, unlabelled_key = jax.random.split(key)
        outputs, stats = network.apply_train(params, state.batch_stats, labelled.images[WEAK], labelled_key)
        losses = self.parts.loss(outputs, labelled.labels)
        outputs, stats = network.apply_train(params, stats, strong, unlabelled_key)
        losses["unlabelled"] = made.loss(outputs["logits"], settings.weight)
        return Objective(losses, stats, {"kept": kept(losses, labelled), "confident": confident})
