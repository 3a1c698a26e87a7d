"""UniMatch (Yang et al., arXiv:2208.09910): two strong views and a feature perturbation learn the weak view's labels.

After the authors' code, LiheYoung/UniMatch 0324f3d (`unimatch.py`). There CutMix pastes from a second batch of
unlabelled images, which the network labels in evaluation mode. Here it pastes the next crop of the same batch.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array

from csst_jax.losses.heads import MAIN
from csst_jax.methods.answers import answers, halved, require_settings
from csst_jax.methods.base import Method, Objective
from csst_jax.methods.feature_dropout import beside_clean, require_perturbable
from csst_jax.methods.interleaving import interleaved, taken
from csst_jax.methods.mixing import mix_boxes, pasted, require_probability
from csst_jax.streams import REAL, STRONG, STRONG_2, UNLABELLED, WEAK, Stream
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays
    from csst_jax.train_state import TrainState

_PAIR = (1, 1)


class UniMatch(Method):
    """Half of a step's crops are labelled; the others come in a weak and two strong views."""

    streams = (Stream("labelled", (REAL,)), Stream("unlabelled", (UNLABELLED,), (WEAK, STRONG, STRONG_2)))

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers. Real labels weigh 1, and the sum is halved, as published.

        Attributes:
          confidence_threshold: pixels whose pseudo label has a smaller probability are not learned; 0 learns all.
          strong_weight: of the loss of each of the two strong views.
          feature_weight: of the loss of the perturbed features.
          dropout: probability that a channel of a feature map is dropped there.
          cutmix: probability that a strong crop gets a box of the next one, and the box's pseudo labels.
        """

        confidence_threshold: float
        strong_weight: float
        feature_weight: float
        dropout: float
        cutmix: float

        def __post_init__(self) -> None:
            weights = {name: getattr(self, name) for name in ("strong_weight", "feature_weight")}
            require_settings(self.confidence_threshold, **weights)
            if not 0 <= self.dropout < 1:
                raise CsstError(f"dropout is {self.dropout}; give a probability below 1.")
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
        clean = {name: jax.tree.map(lambda x: taken(x, _PAIR, 0), outputs[name]) for name in ("logits", "aux")}
        real = jax.tree.map(lambda x: taken(x, _PAIR, 0), clean)
        weak = taken(clean["logits"], _PAIR, 1)
        of_features = taken(taken(outputs["logits"], _PAIR, 1), _PAIR, 1)
        made = answers(weak, settings.confidence_threshold, unlabelled.valid)

        views = {view: unlabelled.images[view] for view in (STRONG, STRONG_2)}
        learned = dict.fromkeys(views, made)
        if settings.cutmix:
            boxes = {view: mix_boxes(unlabelled, settings.cutmix, second=view == STRONG_2) for view in views}
            views = {view: pasted(boxes[view], x) for view, x in views.items()}
            learned = {view: made.mixed(inside) for view, inside in boxes.items()}
        outputs, stats = network.apply_train(params, stats, interleaved(list(views.values()), _PAIR), second_key)

        losses = self.parts.loss(real, labelled.labels)
        for number, (view, target) in enumerate(learned.items()):
            losses[view] = target.loss(taken(outputs["logits"], _PAIR, number), settings.strong_weight)
        losses["feature"] = made.loss(of_features, settings.feature_weight)
        valid = jnp.sum(labelled.valid, dtype=jnp.float32)
        metrics = {"kept": losses[MAIN].count / jnp.maximum(valid, 1.0), "confident": made.share}
        return Objective(halved(losses), stats, metrics)
