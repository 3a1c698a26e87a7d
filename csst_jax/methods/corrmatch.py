"""CorrMatch (Sun et al., arXiv:2306.04300): labels spread in regions whose positions are correlated.

After the authors' code, BBBBchan/CorrMatch 44f9f9e (`corrmatch.py`). There CutMix pastes from a second batch, and the
threshold follows the predictions of training mode. Here CutMix pastes the next crop of the batch, the soft labels are
mixed as the hard ones are, and the threshold follows evaluation mode after each step.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from csst_jax.losses.heads import MAIN, Loss
from csst_jax.methods.answers import Answers, answers, halved, require_below_one, require_not_negative
from csst_jax.methods.base import Objective, kept
from csst_jax.methods.correlation import Projections, correlated, correlation, grown
from csst_jax.methods.feature_dropout import beside_clean, require_perturbable
from csst_jax.methods.interleaving import interleaved, taken, taken_outputs
from csst_jax.methods.mixing import mix_boxes, pasted, require_probability
from csst_jax.methods.modules import WithModules, arrays_of, prefixed, seen, sizes
from csst_jax.streams import STRONG, WEAK, half_unlabelled
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays, Network
    from csst_jax.train_state import TrainState

HEAD, THRESHOLD = "corrmatch", "threshold"
_PAIR = (1, 1)


class CorrMatch(WithModules):
    """Half of a step's crops are labelled, half are not."""

    streams = half_unlabelled(WEAK, STRONG)

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers. The weights are those of the sum before it is halved, as published.

        Attributes:
          threshold: least confidence of a label that is learned, at the start.
          momentum: share of the threshold that a step keeps. The rest is the mean over classes of the highest
            confidence.
          real_weight: weight of the loss on real labels, and of the same loss of the correlated logits.
          weight: weight of each of four losses: on hard labels, on soft labels, of perturbed features, of correlated
            logits.
          dropout: probability that a channel of a feature map is dropped.
          cutmix: probability that a strong crop gets a box of the next one, and its labels.
          regions: positions of a crop whose regions spread labels.
        """

        threshold: float
        momentum: float
        real_weight: float
        weight: float
        dropout: float
        cutmix: float
        regions: int

        def __post_init__(self) -> None:
            require_below_one(threshold=self.threshold, momentum=self.momentum, dropout=self.dropout)
            require_not_negative(real_weight=self.real_weight, weight=self.weight)
            require_probability("cutmix", self.cutmix)
            if self.regions < 1:
                raise CsstError(f"regions is {self.regions}; give 1 or more.")

    def __post_init__(self) -> None:
        require_perturbable(self.parts.network, "corrmatch")

    def modules(self) -> Mapping[str, Network]:
        """The projections whose products are the correlations."""
        encoded, classes = sizes(self.parts.network).encoded, self.parts.num_classes
        return {HEAD: self.parts.own(1, lambda rngs: Projections(encoded, classes, rngs=rngs))}

    def init(self, params: Arrays, batch_stats: Arrays) -> dict[str, Any]:
        """The threshold."""
        del params, batch_stats
        return {THRESHOLD: jnp.float32(self.settings.threshold)}

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """As `Method.objective`: the supervised losses, and six further ones.

        Of correlated logits are `correlated` (on real labels), `correlated_strong` and `correlated_weak`. The others
        are `strong`, `soft` and `feature`. Metrics: `kept`, `confident` (the share of pixels that are learned), and
        `threshold`.
        """
        network, settings, head = self.parts.network, self.settings, self.made[HEAD]
        labelled, unlabelled = (crops[stream.name] for stream in self.streams)
        keys, threshold = jax.random.split(key, 6), state.method[THRESHOLD]
        images = interleaved([labelled.images[WEAK], unlabelled.images[WEAK]], _PAIR)
        perturb = beside_clean(keys[1], settings.dropout)
        found = seen(network, params, state.batch_stats, images, keys[0], perturb)
        clean = taken_outputs(found.outputs, _PAIR, 0)
        arrays, stats = arrays_of(head.params, params, HEAD), arrays_of(head.batch_stats, state.batch_stats, HEAD)
        projections, stats = head.apply_train(arrays, stats, found.encoded, keys[2])
        related = correlation(projections)
        spread = correlated(clean["logits"], related, projections)

        real, weak = taken_outputs(clean, _PAIR, 0), taken(clean["logits"], _PAIR, 1)
        made = answers(weak, threshold, unlabelled.valid)
        inside = mix_boxes(unlabelled, settings.cutmix)
        mixed, soft = made.mixed(inside), pasted(inside, jax.nn.softmax(jax.lax.stop_gradient(weak)))
        rows = self._rows(taken(related, _PAIR, 1), projections, keys[5])
        larger = Answers(*grown(mixed.labels, mixed.confident, mixed.valid & ~inside, rows, threshold), mixed.valid)

        strong = pasted(inside, unlabelled.images[STRONG])
        second = seen(network, params, found.batch_stats, strong, keys[3])
        logits = second.outputs["logits"]
        projections, stats = head.apply_train(arrays, stats, second.encoded, keys[4])
        strong_spread = correlated(logits, correlation(projections), projections)

        losses = self.parts.loss(real, labelled.labels)
        on_real = self.parts.loss({"logits": taken(spread, _PAIR, 0), "aux": {}}, labelled.labels)
        losses["correlated"] = on_real[MAIN]
        losses = {name: dataclasses.replace(x, weight=settings.real_weight * x.weight) for name, x in losses.items()}
        weight = settings.weight
        losses["strong"] = larger.loss(logits, weight)
        losses["soft"] = _divergence(soft, logits, mixed, weight)
        losses["feature"] = made.loss(taken(taken(found.outputs["logits"], _PAIR, 1), _PAIR, 1), weight)
        losses["correlated_strong"] = larger.loss(strong_spread, weight / 2)
        losses["correlated_weak"] = made.loss(taken(spread, _PAIR, 1), weight / 2)
        metrics = {"kept": kept(losses, labelled), "confident": larger.share, "threshold": threshold}
        return Objective(halved(losses), second.batch_stats | prefixed(HEAD, stats), metrics)

    def after(self, state: TrainState, crops: Mapping[str, Crops], key: Array) -> dict[str, Any]:
        """The threshold follows the mean over classes of the highest confidence."""
        del key
        network, unlabelled = self.parts.network, crops["unlabelled"]
        logits = seen(network, state.params, state.batch_stats, unlabelled.images[WEAK], None).outputs["logits"]
        new, old = mean_of_highest(jax.nn.softmax(logits), unlabelled.valid), state.method[THRESHOLD]
        momentum = self.settings.momentum
        return {THRESHOLD: jnp.where(new > 0, momentum * old + (1 - momentum) * new, old)}

    def _rows(
        self, related: Float[Array, "b n n"], projections: Float[Array, "c p q d"], key: Array
    ) -> Float[Array, "b s p q"]:
        """The correlations of a few positions, the same of all crops."""
        count, _, length = related.shape
        chosen = jax.random.randint(key, (self.settings.regions,), 0, length)
        return jax.lax.stop_gradient(related[:, chosen]).reshape(count, -1, *projections.shape[1:3])


def mean_of_highest(p: Float[Array, "b h w k"], valid: Bool[Array, "b h w"]) -> Float[Array, ""]:
    """The mean, over the classes that are predicted, of their highest probability; 0 where there is no valid pixel."""
    own = (jnp.argmax(p, -1)[..., None] == jnp.arange(p.shape[-1])) & valid[..., None]
    highest = jnp.max(jnp.where(own, p, 0.0), (0, 1, 2))
    return jnp.sum(highest) / jnp.maximum(jnp.sum(highest > 0), 1)


def _divergence(soft: Float[Array, "b h w k"], logits: Float[Array, "b h w k"], at: Answers, weight: float) -> Loss:
    """Kullback and Leibler's, of the soft labels from the answer, where the labels are confident."""
    nats = jnp.sum(soft * (jnp.log(jnp.maximum(soft, 1e-12)) - jax.nn.log_softmax(logits)), -1)
    return Loss(jnp.sum(jnp.where(at.confident, nats, 0.0)), jnp.sum(at.valid, dtype=jnp.float32), weight)
