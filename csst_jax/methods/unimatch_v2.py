"""UniMatch V2 (Yang et al., arXiv:2410.10777): an average labels, two strong views learn with complementary dropout.

After the authors' code, LiheYoung/UniMatch-V2 f6afb4d (`unimatch_v2.py`, `model/semseg/dpt.py`). There CutMix pastes
from the batch in reverse order. Here it pastes the next crop.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
from jaxtyping import Array

from csst_jax.methods.answers import answers, halved, require_below_one, require_not_negative, two_strong_views
from csst_jax.methods.average import WeightAverage
from csst_jax.methods.averaged import AVERAGE, AverageTeacher
from csst_jax.methods.base import Objective, kept
from csst_jax.methods.feature_dropout import complementary, require_perturbable
from csst_jax.methods.interleaving import interleaved, taken
from csst_jax.methods.mixing import require_probability
from csst_jax.streams import STRONG, STRONG_2, WEAK, half_unlabelled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays
    from csst_jax.train_state import TrainState

_PAIR = (1, 1)


class UniMatchV2(AverageTeacher):
    """Half of a step's crops are labelled; the others come in a weak and two strong views."""

    streams = half_unlabelled(WEAK, STRONG, STRONG_2)

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers. Real labels weigh 1, and the sum is halved, as published.

        Attributes:
          decay: share of the average that a step keeps; early steps keep less.
          confidence_threshold: pixels whose pseudo label has a smaller probability are not learned; 0 learns all.
          strong_weight: weight of the loss on each of the two strong views.
          cutmix: probability that a strong crop gets a box of the next one, and the box's pseudo labels.
        """

        decay: float
        confidence_threshold: float
        strong_weight: float
        cutmix: float

        def __post_init__(self) -> None:
            WeightAverage(self.decay)  # refuses what is out of range
            require_below_one(confidence_threshold=self.confidence_threshold)
            require_not_negative(strong_weight=self.strong_weight)
            require_probability("cutmix", self.cutmix)

    def __post_init__(self) -> None:
        require_perturbable(self.parts.network, "unimatch_v2")

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """As `Method.objective`: the supervised losses, `strong` and `strong_2` (see `Answers.loss`).

        Metrics: `kept`, and `confident`, the share of pixels whose label is sure enough.
        """
        network, settings = self.parts.network, self.settings
        labelled, unlabelled = (crops[stream.name] for stream in self.streams)
        average = state.method[AVERAGE]
        weak = network.apply_eval(average["params"], average["batch_stats"], unlabelled.images[WEAK])["logits"]
        made = answers(weak, settings.confidence_threshold, unlabelled.valid)
        views = two_strong_views(unlabelled, made, settings.cutmix)

        labelled_key, unlabelled_key, dropout_key = jax.random.split(key, 3)
        outputs, stats = network.apply_train(params, state.batch_stats, labelled.images[WEAK], labelled_key)
        losses = self.parts.loss(outputs, labelled.labels)
        pairs = interleaved([images for images, _ in views.values()], _PAIR)
        outputs, stats = network.apply_train(params, stats, pairs, unlabelled_key, complementary(dropout_key))
        for number, (view, (_, target)) in enumerate(views.items()):
            losses[view] = target.loss(taken(outputs["logits"], _PAIR, number), settings.strong_weight)
        return Objective(halved(losses), stats, {"kept": kept(losses, labelled), "confident": made.share})
