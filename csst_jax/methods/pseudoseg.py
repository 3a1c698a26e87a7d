"""PseudoSeg (Zou et al., arXiv:2010.09713): soft labels of the weak view, fused of the decoder and of attention.

After the authors' code, googleinterns/wss b01acaf (`train_wss.py`). There class 0 is the background, which has no
activation map. Here every class has one, as data sets of streets need it. There a pass of its own, in inference mode,
gives the activation maps of unlabelled crops. Here the pass in training mode, which gives the decoder's answer, does.
There the strong view has jitter alone, in every crop. Here `augment.strong` has grey and blur as well.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from csst_jax.losses.heads import MAIN, Loss, classes_shown, presence_loss
from csst_jax.methods import class_activation as cam
from csst_jax.methods.answers import require_not_negative, require_positive
from csst_jax.methods.base import Objective, kept
from csst_jax.methods.feature_dropout import require_perturbable
from csst_jax.methods.mixing import Boxes, cutout, require_probability
from csst_jax.methods.modules import Seen, WithModules, arrays_of, prefixed, resized_mask, seen, sizes
from csst_jax.models.ops.resize import resize_logits
from csst_jax.streams import STRONG, WEAK, half_unlabelled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays, Network
    from csst_jax.train_state import TrainState

PREFIX = "pseudoseg"
PRESENCE, ATTENTION, SCORES = (f"{PREFIX}.{name}" for name in ("presence", "attention", "scores"))

_SHARE = (100 / 513) ** 2
_CUT = Boxes(_SHARE, _SHARE, 1.0)
"""Cutout's boxes: squares of 100 px in crops of 513 (`core/input_preprocess.py`). There borders may cut them."""


class PseudoSeg(WithModules):
    """Half of a step's crops are labelled, half are not."""

    streams = half_unlabelled(WEAK, STRONG)

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers.

        Attributes:
          weight: weight of the loss on soft labels.
          temperature: temperature of the fused probabilities; below 1 sharpens.
          channels: number of channels of queries and keys.
          cutout: probability that a strong crop loses a square of a twenty-sixth of it, which is not learned.
        """

        weight: float
        temperature: float
        channels: int
        cutout: float

        def __post_init__(self) -> None:
            require_not_negative(weight=self.weight)
            require_probability("cutout", self.cutout)
            require_positive(temperature=self.temperature, channels=self.channels)

    def __post_init__(self) -> None:
        require_perturbable(self.parts.network, "pseudoseg")

    def modules(self) -> Mapping[str, Network]:
        """The classifier of whole crops, the attention, and what makes logits of its scores."""
        of, width, classes = sizes(self.parts.network), self.settings.channels, self.parts.num_classes
        return {
            PRESENCE: self.parts.own(1, lambda rngs: cam.Presence(of.encoded, classes, rngs=rngs)),
            ATTENTION: self.parts.own(2, lambda rngs: cam.QueriesAndKeys(of.hypercolumn, width, rngs=rngs)),
            SCORES: self.parts.own(3, lambda rngs: cam.ScoresToLogits(classes, rngs=rngs)),
        }

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """As `Method.objective`: the supervised losses, `attention`, `presence` and `unlabelled`.

        `attention` is the loss of the refined maps' logits on labels. It trains the attention alone. `presence` is the
        binary cross-entropy of the classes that a labelled crop shows. `unlabelled` is the cross-entropy of the strong
        view on the soft labels. Metric: `kept`.
        """
        network = self.parts.network
        labelled, unlabelled = (crops[stream.name] for stream in self.streams)
        keys = jax.random.split(key, 3)
        found = seen(network, params, state.batch_stats, labelled.images[WEAK], keys[0])
        losses = self.parts.loss(found.outputs, labelled.labels)
        shown = classes_shown(labelled.labels, self.parts.num_classes)
        refined, presence, scores_stats = self._branch(params, state.batch_stats, found, shown, labelled.valid)
        size = (labelled.labels.shape[1], labelled.labels.shape[2])
        on_labels = self.parts.loss({"logits": resize_logits(refined, size, True), "aux": {}}, labelled.labels)
        losses["attention"] = on_labels[MAIN]
        losses["presence"] = presence_loss(presence, labelled.labels)

        weak = seen(network, params, found.batch_stats, unlabelled.images[WEAK], keys[1])
        refined, _, scores_stats = self._branch(params, state.batch_stats | scores_stats, weak, None, unlabelled.valid)
        labels = jax.lax.stop_gradient(
            cam.fused(weak.outputs["logits"], resize_logits(refined, size, True), self.settings.temperature)
        )
        strong = cutout(unlabelled, self.settings.cutout, _CUT)
        own = arrays_of(network.params, params)
        outputs, stats = network.apply_train(own, weak.batch_stats, strong.images[STRONG], keys[2])
        values = -jnp.sum(labels * jax.nn.log_softmax(outputs["logits"]), -1)
        values = jnp.where(strong.valid, values, 0.0)
        losses["unlabelled"] = Loss(jnp.sum(values), jnp.sum(strong.valid, dtype=jnp.float32), self.settings.weight)
        return Objective(losses, stats | scores_stats, {"kept": kept(losses, labelled)})

    def _branch(
        self, params: Arrays, stats: Arrays, found: Seen, shown: Bool[Array, "b k"] | None, valid: Bool[Array, "b h w"]
    ) -> tuple[Float[Array, "b p q k"], Float[Array, "b k"], Arrays]:
        """Logits of the refined activation maps, those of the classes' presence, and the new running statistics.

        Where nobody says which classes a crop shows (`shown` is None), they are those of which the classifier is sure.
        """
        own = {name: arrays_of(module.params, params, name) for name, module in self.made.items()}
        classifier = own[PRESENCE]
        presence = cam.presence(classifier, found.encoded)
        maps = cam.activation_maps(classifier, found.encoded, presence >= 0 if shown is None else shown)
        key = jax.random.key(0)  # these modules draw nothing
        columns = jax.lax.stop_gradient(found.hypercolumn)
        queries_and_keys, _ = self.made[ATTENTION].apply_train(own[ATTENTION], {}, columns, key)
        scores = cam.attended(queries_and_keys, maps, resized_mask(valid, (maps.shape[1], maps.shape[2])))
        module = self.made[SCORES]
        running = arrays_of(module.batch_stats, stats, SCORES)
        logits, running = module.apply_train(own[SCORES], running, scores, key)
        return logits, presence, prefixed(SCORES, running)
