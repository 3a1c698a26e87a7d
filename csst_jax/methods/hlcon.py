"""HLCOn (Mittal et al., arXiv:1908.05724): s4GAN's discriminator, and a multi-label mean teacher of whole images.

After the authors' code, sud0301/semisup-semseg 586609b (`train_s4GAN.py`, `train_mlmt.py`). There the classifier is a
network of its own, and it takes classes out of predictions when they are evaluated. Here it shares the encoder. It
takes classes out of the labels of self-training, since the network predicts alone. There the discriminator's masks are
of a third batch, and it learns from the predictions of the step's own pass. Here they are the step's labelled crops,
and one more pass after the update gives the predictions.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import Loss, presence_loss
from csst_jax.methods.answers import require_below_one, require_not_negative, require_positive
from csst_jax.methods.average import WeightAverage
from csst_jax.methods.averaged import AVERAGE, AverageTeacher
from csst_jax.methods.base import Objective, kept
from csst_jax.methods.class_activation import Presence, presence
from csst_jax.methods.discriminator import Discriminator, beside
from csst_jax.methods.feature_dropout import require_perturbable
from csst_jax.methods.mixing import require_probability
from csst_jax.methods.modules import WithModules, arrays_of, seen, sizes
from csst_jax.streams import STRONG, WEAK, half_unlabelled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays, Network
    from csst_jax.train_state import TrainState

CLASSES, DISCRIMINATOR, MOMENTS = "hlcon", "discriminator", "moments"
_BETAS = (0.9, 0.99)
_POWER = 0.9


class HighAndLowConsistency(WithModules, AverageTeacher):
    """Half of a step's crops are labelled, half are not; the trained network predicts, and not its average."""

    streams = half_unlabelled(WEAK, STRONG)
    predicts_average = False

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers.

        Attributes:
          matching_weight: weight of the distance between the discriminator's mean features of masks and of predictions.
          weight: weight of the loss on the network's own labels.
          threshold: crops that the discriminator takes for masks with a smaller probability are not learned.
          discriminator_rate: learning rate of the discriminator's Adam; it falls as (1 - t) ** 0.9.
          discriminator_channels: channels of the discriminator's first convolution; each of the next three has twice as
            many as the one before.
          presence_weight: weight of the loss on the classes that a crop shows; 0 leaves the classifier out.
          presence_threshold: classes to which the classifier's average gives a smaller probability leave the labels.
          decay: share of the classifier's average that a step keeps; early steps keep less.
          burn_in: share of the training before the classifier learns from unlabelled crops.
        """

        matching_weight: float
        weight: float
        threshold: float
        discriminator_rate: float
        discriminator_channels: int
        presence_weight: float
        presence_threshold: float
        decay: float
        burn_in: float

        def __post_init__(self) -> None:
            WeightAverage(self.decay)  # refuses what is out of range
            names = ("matching_weight", "weight", "presence_weight", "discriminator_rate")
            require_below_one(threshold=self.threshold)
            require_not_negative(**{name: getattr(self, name) for name in names})
            for name in ("presence_threshold", "burn_in"):
                require_probability(name, getattr(self, name))
            require_positive(discriminator_channels=self.discriminator_channels)

    def __post_init__(self) -> None:
        require_perturbable(self.parts.network, "hlcon")

    def modules(self) -> Mapping[str, Network]:
        """The classifier of whole crops."""
        encoded, classes = sizes(self.parts.network).encoded, self.parts.num_classes
        return {CLASSES: self.parts.own(1, lambda rngs: Presence(encoded, classes, rngs=rngs))}

    @functools.cached_property
    def _discriminator(self) -> Network:
        classes, width = self.parts.num_classes, self.settings.discriminator_channels
        return self.parts.own(2, lambda rngs: Discriminator(classes, width, rngs=rngs))

    def trained(self) -> tuple[Arrays, Arrays]:
        """The network and the classifier. The discriminator, which has an optimizer of its own, is the method's."""
        _ = self._discriminator  # its initial values are drawn here, where nothing is traced
        return super().trained()

    def init(self, params: Arrays, batch_stats: Arrays) -> dict[str, Any]:
        """The average, and the discriminator with its optimizer's moments."""
        drawn = jax.tree.map(_own_or_zeros, self._discriminator.params)
        moments = optax.scale_by_adam(*_BETAS).init(drawn)
        return {**super().init(params, batch_stats), DISCRIMINATOR: drawn, MOMENTS: moments}

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """As `Method.objective`: the supervised losses, `matching`, `unlabelled`, `presence` and `agreement`.

        Metrics: `kept`, and `passed`, the share of unlabelled crops that the discriminator takes for masks.
        """
        network, settings = self.parts.network, self.settings
        labelled, unlabelled = (crops[stream.name] for stream in self.streams)
        keys = jax.random.split(key, 5)
        real = seen(network, params, state.batch_stats, labelled.images[WEAK], keys[0])
        losses = self.parts.loss(real.outputs, labelled.labels)
        found = seen(network, params, real.batch_stats, unlabelled.images[WEAK], keys[1])
        logits, judge = found.outputs["logits"], state.method[DISCRIMINATOR]
        of_masks = self._judged(judge, self._masks(labelled), keys[2])
        judged = self._judged(judge, beside(jax.nn.softmax(logits), unlabelled.images[WEAK]), keys[3])
        apart = jnp.abs(jnp.mean(of_masks["features"], 0) - jnp.mean(judged["features"], 0))
        losses["matching"] = Loss(jnp.sum(apart), jnp.float32(apart.size), settings.matching_weight)

        passed = jax.nn.sigmoid(jax.lax.stop_gradient(judged["logit"])) > settings.threshold
        average, there = state.method[AVERAGE], jnp.ones((len(passed), logits.shape[-1]), bool)
        stats = found.batch_stats
        if settings.presence_weight:
            mean = average["params"], average["batch_stats"]
            taught = seen(network, *mean, unlabelled.images[WEAK], None)
            target = self._presence(mean[0], taught.encoded)
            there = jax.nn.sigmoid(target) >= settings.presence_threshold
            strong = seen(network, params, stats, unlabelled.images[STRONG], keys[4])
            stats = strong.batch_stats
            own = self._presence(params, real.encoded)
            losses["presence"] = presence_loss(own, labelled.labels, settings.presence_weight)
            angle = 1.0 - _cosine(self._presence(params, strong.encoded), jax.lax.stop_gradient(target))
            risen = jnp.clip(2.0 * (self.parts.progress(state.step) - settings.burn_in), 0.0, 1.0)
            losses["agreement"] = Loss(jnp.sum(angle), jnp.float32(angle.size), settings.presence_weight * risen)

        learned = unlabelled.valid & passed[:, None, None] & (state.step > 0)
        labels = _labels(logits, there)
        losses["unlabelled"] = Loss(
            jnp.sum(cross_entropy(logits, labels, learned)), jnp.sum(learned, dtype=jnp.float32), settings.weight
        )
        metrics = {"kept": kept(losses, labelled), "passed": jnp.mean(passed, dtype=jnp.float32)}
        return Objective(losses, stats, metrics)

    def after(self, state: TrainState, crops: Mapping[str, Crops], key: Array) -> dict[str, Any]:
        """The average follows the weights, and the discriminator takes a step of its own."""
        network, before = self.parts.network, state.method
        labelled, unlabelled = (crops[stream.name] for stream in self.streams)
        keys = jax.random.split(key, 3)
        own, stats = arrays_of(network.params, state.params), arrays_of(network.batch_stats, state.batch_stats)
        outputs, _ = network.apply_train(own, stats, unlabelled.images[WEAK], keys[0])
        masks, predicted = self._masks(labelled), beside(jax.nn.softmax(outputs["logits"]), unlabelled.images[WEAK])

        def mistaken(judge: Arrays) -> Float[Array, ""]:
            taken_for_masks = self._judged(judge, predicted, keys[1])["logit"]
            known = self._judged(judge, masks, keys[2])["logit"]
            return (jnp.mean(jax.nn.softplus(taken_for_masks)) + jnp.mean(jax.nn.softplus(-known))) / 2

        updates, moments = optax.scale_by_adam(*_BETAS).update(
            jax.grad(mistaken)(before[DISCRIMINATOR]), before[MOMENTS]
        )
        rate = self.settings.discriminator_rate * (1.0 - self.parts.progress(state.step - 1)) ** _POWER
        judge = jax.tree.map(lambda p, u: p - rate * u, before[DISCRIMINATOR], updates)
        return {**super().after(state, crops, key), DISCRIMINATOR: judge, MOMENTS: moments}

    def predicting(self, state: TrainState) -> tuple[Arrays, Arrays]:
        """The trained network."""
        network = self.parts.network
        return arrays_of(network.params, state.params), arrays_of(network.batch_stats, state.batch_stats)

    def _judged(self, judge: Arrays, shown: Float[Array, "b h w c"], key: Array) -> dict[str, Array]:
        return self._discriminator.apply_train(judge, {}, shown, key)[0]

    def _masks(self, crops: Crops) -> Float[Array, "b h w c"]:
        return beside(jax.nn.one_hot(crops.labels, self.parts.num_classes), crops.images[WEAK])

    def _presence(self, params: Arrays, encoded: Float[Array, "b p q c"]) -> Float[Array, "b k"]:
        return presence(arrays_of(self.made[CLASSES].params, params, CLASSES), encoded)


def _labels(logits: Float[Array, "b h w k"], there: Bool[Array, "b k"]) -> Array:
    """The most probable class of those that are there, int32 "b h w"; of all where none is."""
    allowed = (there | ~jnp.any(there, 1, keepdims=True))[:, None, None]
    return jnp.argmax(jnp.where(allowed, jax.lax.stop_gradient(logits), -jnp.inf), -1).astype(jnp.int32)


def _cosine(a: Float[Array, "b k"], b: Float[Array, "b k"]) -> Float[Array, " b"]:
    squares = jnp.maximum(jnp.sum(a * a, -1), 1e-12) * jnp.maximum(jnp.sum(b * b, -1), 1e-12)
    return jnp.sum(a * b, -1) * jax.lax.rsqrt(squares)


def _own_or_zeros(x: Any) -> Array:
    """A copy; zeros where the stage has shapes alone."""
    return jnp.zeros(x.shape, x.dtype) if isinstance(x, jax.ShapeDtypeStruct) else jnp.array(x, copy=True)
