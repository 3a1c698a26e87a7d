"""DST-CBC (Feng et al., arXiv:2004.08514): rounds of self-training with a growing, class-balanced share of labels.

After the authors' code, voldemortX/DST-CBC c31b09e (`segmentation/main.py`, `utils/losses.py`). There each round labels
whole images, and stores them. Here the network of the round's beginning labels the crops of each step, and thresholds
are taken from what it has labelled so far in the round. The learning rate does not start again with a round. There the
first part sees labelled crops alone. Here it sees both kinds, and learns the masks. The authors have no OHEM. Here
`loss.ohem` chooses the pixels of the masks as for every method.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import Loss
from csst_jax.methods.answers import require_not_negative, require_positive
from csst_jax.methods.base import Method, Objective, kept
from csst_jax.methods.interleaving import interleaved, taken, taken_outputs
from csst_jax.streams import REAL, UNLABELLED, WEAK, Stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays
    from csst_jax.train_state import TrainState

LABELLER, COUNTS, ROUND = "labeller", "counts", "round"
_BINS = 1024
_FLOOR = 1e-6
_EVERY = 4
"""Of rows and of columns, in counting: one pixel of 16, as published."""


class DynamicSelfTraining(Method):
    """The training is cut into equal parts. The first learns masks alone, each other one is a round.

    The network sees both kinds of crops in one pass, as published, so that batch normalisation does.
    """

    joint = True

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers.

        Attributes:
          real_parts: how many of `real_parts + unlabelled_parts` crops have real labels.
          unlabelled_parts: how many of them have none.
          rounds: number of rounds. In round r of n, the most confident r/n of each class's pixels are learned.
          gamma: a pixel weighs its label's probability to this power.
        """

        real_parts: int
        unlabelled_parts: int
        rounds: int
        gamma: float

        def __post_init__(self) -> None:
            require_not_negative(gamma=self.gamma)
            names = ("real_parts", "unlabelled_parts", "rounds")
            require_positive(**{name: getattr(self, name) for name in names})

    @property
    def streams(self) -> tuple[Stream, ...]:  # type: ignore[override]  # known by the settings, not by the class
        """Both kinds of crops in their shares."""
        return self.streams_of(self.settings)

    @classmethod
    def streams_of(cls, settings: Any) -> tuple[Stream, ...]:
        """`streams` with these settings."""
        return (
            Stream("labelled", (REAL,), parts=settings.real_parts),
            Stream("unlabelled", (UNLABELLED,), parts=settings.unlabelled_parts),
        )

    def init(self, params: Arrays, batch_stats: Arrays) -> dict[str, Any]:
        """The network that labels, how often it gave each class with which confidence in its round, and the round."""
        return {
            LABELLER: jax.tree.map(jnp.copy, {"params": params, "batch_stats": batch_stats}),
            COUNTS: jnp.zeros((self.parts.num_classes, _BINS), jnp.float32),
            ROUND: jnp.zeros((), jnp.int32),
        }

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """As `Method.objective`: the supervised losses, and `unlabelled`.

        Without OHEM their weights make the sum a mean over the pixels of both, as published. With OHEM the weights stay
        the shares of all pixels with a label, and the first is a mean over the hard ones. In the first part the second
        weighs nothing. Metrics: `kept`; `learned`, the share of pixels whose label is sure enough; `ratio`, what this
        share is to be.
        """
        network = self.parts.network
        labelled, unlabelled = (crops[name] for name in ("labelled", "unlabelled"))
        part = self._part(state.step)
        labels, bins = self._labelled(state, unlabelled)
        counts = state.method[COUNTS] + counted(labels, bins, unlabelled.valid, len(state.method[COUNTS]))
        ratio = part.astype(jnp.float32) / self.settings.rounds
        learned = unlabelled.valid & (bins >= least_bins(counts, ratio)[labels])

        parts = [stream.parts for stream in self.streams]
        images = interleaved([labelled.images[WEAK], unlabelled.images[WEAK]], parts)
        outputs, stats = network.apply_train(params, state.batch_stats, images, key)
        losses = self.parts.loss(taken_outputs(outputs, parts, 0), labelled.labels)
        nats = cross_entropy(taken(outputs["logits"], parts, 1), labels, learned)
        sure = jnp.exp(-self.settings.gamma * jax.lax.stop_gradient(nats))
        real, pseudo = (jnp.sum(x, dtype=jnp.float32) for x in (labelled.valid, learned))
        share = jnp.where(part > 0, pseudo / jnp.maximum(real + pseudo, 1.0), 0.0)
        losses = {name: dataclasses.replace(x, weight=x.weight * (1.0 - share)) for name, x in losses.items()}
        losses["unlabelled"] = Loss(jnp.sum(sure * nats), pseudo, share)
        pixels = jnp.sum(unlabelled.valid, dtype=jnp.float32)
        metrics = {
            "kept": kept(losses, labelled),
            "learned": pseudo / jnp.maximum(pixels, 1.0),
            "ratio": ratio,
        }
        return Objective(losses, stats, metrics)

    def after(self, state: TrainState, crops: Mapping[str, Crops], key: Array) -> dict[str, Any]:
        """At the beginning of a round the network becomes the one that labels."""
        del key
        unlabelled, own = crops["unlabelled"], state.method
        labels, bins = self._labelled(state, unlabelled)
        counts = own[COUNTS] + counted(labels, bins, unlabelled.valid, len(own[COUNTS]))
        part = self._part(state.step)
        begins = part > own[ROUND]  # kept in the state: the step that begins a round may be skipped as not finite
        new = {"params": state.params, "batch_stats": state.batch_stats}
        labeller = jax.tree.map(lambda old, new: jnp.where(begins, new, old), own[LABELLER], new)
        return {LABELLER: labeller, COUNTS: jnp.where(begins, 0.0, counts), ROUND: part}

    def _part(self, step: Array) -> Int[Array, ""]:
        """0 for the part with masks alone, then the round's number."""
        rounds = self.settings.rounds
        return jnp.minimum(self.parts.progress(step) * (rounds + 1), float(rounds)).astype(jnp.int32)

    def _labelled(self, state: TrainState, crops: Crops) -> tuple[Int[Array, "b h w"], Int[Array, "b h w"]]:
        """The label of each pixel, and the bin of its confidence."""
        labeller = state.method[LABELLER]
        outputs = self.parts.network.apply_eval(labeller["params"], labeller["batch_stats"], crops.images[WEAK])
        logits = jax.lax.stop_gradient(outputs["logits"])
        labels = jnp.argmax(logits, -1).astype(jnp.int32)
        return labels, confidence_bins(cross_entropy(logits, labels, crops.valid))


def confidence_bins(nats: Float[Array, "*b"]) -> Int[Array, "*b"]:
    """0 to 1023, rising with the probability; the nearer it is to 1, the finer.

    Args:
      nats: minus the logarithm of the probability.
    """
    doubt = jnp.log(jnp.maximum(-jnp.expm1(-nats), _FLOOR)) / jnp.log(_FLOOR)
    return jnp.clip((doubt * _BINS).astype(jnp.int32), 0, _BINS - 1)


def counted(
    labels: Int[Array, "b h w"], bins: Int[Array, "b h w"], valid: Bool[Array, "b h w"], classes: int
) -> Float[Array, "k n"]:
    """How many pixels of each class have a confidence in each bin; of every fourth row and column."""
    labels, bins, valid = (x[:, ::_EVERY, ::_EVERY] for x in (labels, bins, valid))
    return jnp.zeros((classes, _BINS), jnp.float32).at[labels, bins].add(valid.astype(jnp.float32))


def least_bins(counts: Float[Array, "k n"], ratio: Float[Array, ""]) -> Int[Array, " k"]:
    """Each class's lowest bin from which on there are at most the ratio of its pixels; all bins for a ratio of 1.

    The uppermost bin of a class is learned in any case, where the ratio is not 0.
    """
    above = jnp.cumsum(counts[:, ::-1], 1)[:, ::-1]
    least = jnp.sum(above > ratio * above[:, :1] * (1 + 1e-6), 1)
    highest = jnp.sum(above > 0, 1) - 1
    return jnp.where(ratio > 0, jnp.minimum(least, jnp.maximum(highest, 0)), _BINS)
