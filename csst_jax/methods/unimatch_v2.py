"""UniMatch V2 (Yang et al., arXiv:2410.10777): an average labels, two strong views learn with complementary dropout.

After the authors' code, LiheYoung/UniMatch-V2 f6afb4d (`unimatch_v2.py`, `model/semseg/dpt.py`). There CutMix pastes
from the batch in reverse order. Here it pastes the next crop.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array

from csst_jax.losses.heads import MAIN
from csst_jax.methods.answers import answers, halved, require_settings
from csst_jax.methods.average import WeightAverage
from csst_jax.methods.averaged import AVERAGE, AverageTeacher
from csst_jax.methods.base import Objective
from csst_jax.methods.feature_dropout import complementary, require_perturbable
from csst_jax.methods.interleaving import interleaved, taken
from csst_jax.methods.mixing import mix_boxes, pasted, require_probability
from csst_jax.streams import REAL, STRONG, STRONG_2, UNLABELLED, WEAK, Stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays
    from csst_jax.train_state import TrainState

_PAIR = (1, 1)


class UniMatchV2(AverageTeacher):
    """Half of a step's crops are labelled; the others come in a weak and two strong views."""

    streams = (Stream("labelled", (REAL,)), Stream("unlabelled", (UNLABELLED,), (WEAK, STRONG, STRONG_2)))

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers. Real labels weigh 1, and the sum is halved, as published.

        Attributes:
          decay: of the average, see `WeightAverage`.
          confidence_threshold: pixels whose pseudo label has a smaller probability are not learned; 0 learns all.
          strong_weight: of the loss of each of the two strong views.
          cutmix: probability that a strong crop gets a box of the next one, and the box's pseudo labels.
        """

        decay: float
        confidence_threshold: float
        strong_weight: float
        cutmix: float

        def __post_init__(self) -> None:
            WeightAverage(self.decay)  # refuses what is out of range
            require_settings(self.confidence_threshold, strong_weight=self.strong_weight)
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
        views = {view: unlabelled.images[view] for view in (STRONG, STRONG_2)}
        learned = dict.fromkeys(views, made)
        if settings.cutmix:
            boxes = {view: mix_boxes(unlabelled, settings.cutmix, second=view == STRONG_2) for view in views}
            views = {view: pasted(boxes[view], x) for view, x in views.items()}
            learned = {view: made.mixed(inside) for view, inside in boxes.items()}

        labelled_key, unlabelled_key, dropout_key = jax.random.split(key, 3)
        outputs, stats = network.apply_train(params, state.batch_stats, labelled.images[WEAK], labelled_key)
        losses = self.parts.loss(outputs, labelled.labels)
        pairs = interleaved(list(views.values()), _PAIR)
        outputs, stats = network.apply_train(params, stats, pairs, unlabelled_key, complementary(dropout_key))
        for number, (view, target) in enumerate(learned.items()):
            losses[view] = target.loss(taken(outputs["logits"], _PAIR, number), settings.strong_weight)
        valid = jnp.sum(labelled.valid, dtype=jnp.float32)
        metrics = {"kept": losses[MAIN].count / jnp.maximum(valid, 1.0), "confident": made.share}
        return Objective(halved(losses), stats, metrics)
