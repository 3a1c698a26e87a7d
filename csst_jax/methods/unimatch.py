"""UniMatch (Yang et al., arXiv:2208.09910): two strong views and a feature perturbation learn the weak view's labels.

After the authors' code, LiheYoung/UniMatch 0324f3d (`unimatch.py`). There CutMix pastes from a second batch of
unlabelled images, which the network labels in evaluation mode. Here it pastes the next crop of the same batch.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
from jaxtyping import Array

from csst_jax.methods.answers import answers, halved, require_below_one, require_not_negative, two_strong_views
from csst_jax.methods.base import Method, Objective, kept
from csst_jax.methods.feature_dropout import beside_clean, require_perturbable
from csst_jax.methods.interleaving import interleaved, taken, taken_outputs
from csst_jax.methods.mixing import require_probability
from csst_jax.streams import STRONG, STRONG_2, WEAK, half_unlabelled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays
    from csst_jax.train_state import TrainState

_PAIR = (1, 1)


class UniMatch(Method):
    """Half of a step's crops are labelled; the others come in a weak and two strong views."""

    streams = half_unlabelled(WEAK, STRONG, STRONG_2)
    joint = True  # the second pass has two views of each unlabelled crop

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers. Real labels weigh 1, and the sum is halved, as published.

        Attributes:
          confidence_threshold: pixels whose pseudo label has a smaller probability are not learned; 0 learns all.
          strong_weight: weight of the loss on each of the two strong views.
          feature_weight: weight of the loss on the perturbed features.
          dropout: probability that a channel of a feature map is dropped.
          cutmix: probability that a strong crop gets a box of the next one, and the box's pseudo labels.
        """

        confidence_threshold: float
        strong_weight: float
        feature_weight: float
        dropout: float
        cutmix: float

        def __post_init__(self) -> None:
            require_below_one(confidence_threshold=self.confidence_threshold, dropout=self.dropout)
            require_not_negative(strong_weight=self.strong_weight, feature_weight=self.feature_weight)
            require_probability("cutmix", self.cutmix)

    def __post_init__(self) -> None:
        require_perturbable(self.parts.network, "unimatch")

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """As `Method.objective`: the supervised losses, `strong`, `strong_2` and `feature` (see `Answers.loss`).

        The first pass sees labelled crops and the weak view together, each with clean and with perturbed features. The
        clean ones give the labels. The second pass sees both strong views. Metrics: `kept`, and `confident`, the share
        of pixels whose label is sure enough.
        """
        network, settings = self.parts.network, self.settings
        labelled, unlabelled = (crops[stream.name] for stream in self.streams)
        first_key, dropout_key, second_key = jax.random.split(key, 3)

        images = interleaved([labelled.images[WEAK], unlabelled.images[WEAK]], _PAIR)
        perturb = beside_clean(dropout_key, settings.dropout)
        outputs, stats = network.apply_train(params, state.batch_stats, images, first_key, perturb)
        clean = taken_outputs(outputs, _PAIR, 0)
        real, weak = taken_outputs(clean, _PAIR, 0), taken(clean["logits"], _PAIR, 1)
        of_features = taken(taken(outputs["logits"], _PAIR, 1), _PAIR, 1)
        made = answers(weak, settings.confidence_threshold, unlabelled.valid)

        views = two_strong_views(unlabelled, made, settings.cutmix)
        pairs = interleaved([images for images, _ in views.values()], _PAIR)
        outputs, stats = network.apply_train(params, stats, pairs, second_key)

        losses = self.parts.loss(real, labelled.labels)
        for number, (view, (_, target)) in enumerate(views.items()):
            losses[view] = target.loss(taken(outputs["logits"], _PAIR, number), settings.strong_weight)
        losses["feature"] = made.loss(of_features, settings.feature_weight)
        return Objective(halved(losses), stats, {"kept": kept(losses, labelled), "confident": made.share})
