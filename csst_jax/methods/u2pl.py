"""U2PL (Wang et al., arXiv:2203.03884): sure pixels are learned, and unsure ones say which classes they are not.

After the authors' code, Haochen-Wang409/U2PL ab3d2be (`train_semi.py`). There the representation is taken where the
decoder's classifier begins, and the average sees the mixed crops in training mode. Here it is taken from the encoder's
deepest features, and the average predicts in evaluation mode. There one draw decides whether all crops of a batch are
mixed, and the share of unsure pixels falls with each epoch. Here each crop has a draw of its own, and the share falls
with each step. There the average is a copy of the weights in the first epoch of both losses, and the gradient of the
contrast is divided by the number of processes. `contrast` says how its negatives differ.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import Loss
from csst_jax.losses.ohem import largest
from csst_jax.methods import contrast
from csst_jax.methods.answers import answers, require_below_one, require_not_negative, require_positive
from csst_jax.methods.average import WeightAverage
from csst_jax.methods.averaged import AVERAGE, AverageTeacher
from csst_jax.methods.base import Objective, kept
from csst_jax.methods.feature_dropout import require_perturbable
from csst_jax.methods.interleaving import interleaved, taken, taken_outputs
from csst_jax.methods.mixing import Boxes, mix_boxes, pasted, require_probability
from csst_jax.methods.modules import WithModules, arrays_of, prefixed, seen, sizes
from csst_jax.models.layers import Conv, ConvBN, Dropout
from csst_jax.models.ops.resize import resize_nearest
from csst_jax.streams import WEAK, half_unlabelled
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays, Network
    from csst_jax.train_state import TrainState

HEAD, BANK = "u2pl", "bank"
_PAIR = (1, 1)
_BOXES = Boxes(0.5, 0.5, 0.5)
"""CutMix's boxes: half of the crop. The authors draw the width uniformly, and not height over width."""


class Representation(nnx.Module):
    """Two 3x3 convolutions and a 1x1 one to the representation, as the authors' `representation`."""

    def __init__(self, in_channels: int, channels: int, *, rngs: nnx.Rngs):
        self.first = ConvBN(in_channels, channels, 3, rngs=rngs, bias=True)
        self.second = ConvBN(channels, channels, 3, rngs=rngs, bias=True)
        self.last = Conv(channels, channels, 1, rngs=rngs, bias=True)
        self.dropout = Dropout(0.1, rngs=rngs, channels=True)

    def __call__(self, x: Float[Array, "b p q c"]) -> Float[Array, "b p q d"]:
        """Of the encoder's features."""
        return self.last(self.dropout(self.second(self.dropout(self.first(x)))))


class U2PL(WithModules, AverageTeacher):
    """Half of a step's crops are labelled, half are not."""

    streams = half_unlabelled(WEAK)
    joint = True

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers.

        Attributes:
          decay: share of the average that a step keeps; early steps keep less.
          weight: weight of the loss on the average's labels.
          unreliable: share of the pixels, by highest entropy, that is uncertain at the start; it falls linearly to 0.
          cutmix: probability that an unlabelled crop gets a box of the next one, and its labels.
          contrast_weight: weight of the contrastive loss.
          least_probability: a query's class has a larger probability than this one, by the average.
          low_rank: an unlabelled pixel is a negative of the classes from this rank on; 0 is its most probable class.
          high_rank: rank from which the classes are too improbable to have the pixel as a negative.
          queries: number of queries of a class in a step.
          negatives: number of negatives of a query.
          temperature: temperature of the contrastive loss.
          channels: number of channels of the representation.
          bank: number of negatives that are kept of each class. The authors keep 50,000 of class 0.
          new_keys: largest number of negatives of a class that a step adds.
        """

        decay: float
        weight: float
        unreliable: float
        cutmix: float
        contrast_weight: float
        least_probability: float
        low_rank: int
        high_rank: int
        queries: int
        negatives: int
        temperature: float
        channels: int
        bank: int
        new_keys: int

        def __post_init__(self) -> None:
            WeightAverage(self.decay)  # refuses what is out of range
            require_below_one(least_probability=self.least_probability)
            require_not_negative(weight=self.weight, contrast_weight=self.contrast_weight, low_rank=self.low_rank)
            for name in ("cutmix", "unreliable"):
                require_probability(name, getattr(self, name))
            names = ("queries", "negatives", "channels", "new_keys", "temperature")
            require_positive(**{name: getattr(self, name) for name in names})
            if self.bank < self.new_keys:
                raise CsstError(f"bank is {self.bank}, new_keys {self.new_keys}; give a bank of at least new_keys.")
            if self.high_rank <= self.low_rank:
                raise CsstError(
                    f"high_rank is {self.high_rank}, low_rank {self.low_rank}; give a high_rank above low_rank."
                )

    def __post_init__(self) -> None:
        require_perturbable(self.parts.network, "u2pl")

    def modules(self) -> Mapping[str, Network]:
        """The representation head."""
        encoded, channels = sizes(self.parts.network).encoded, self.settings.channels
        return {HEAD: self.parts.own(1, lambda rngs: Representation(encoded, channels, rngs=rngs))}

    def init(self, params: Arrays, batch_stats: Arrays) -> dict[str, Any]:
        """The average, and the bank of negatives."""
        bank = contrast.empty_bank(self.parts.num_classes, self.settings.bank, self.settings.channels)
        return {**super().init(params, batch_stats), BANK: bank}

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """As `Method.objective`: the supervised losses, `unlabelled` and `contrast`.

        `unlabelled` is the mean over pixels that are not unsure, times the number of all by theirs. The
        contrast is with the bank of the step before. Metrics: `kept`, and `reliable`, the share of those pixels.
        """
        network, settings, head = self.parts.network, self.settings, self.made[HEAD]
        labelled = crops["labelled"]
        network_key, head_key, contrast_key = jax.random.split(key, 3)
        teacher = self._teacher(state, crops)
        found = seen(network, params, state.batch_stats, teacher.images, network_key)
        arrays, stats = arrays_of(head.params, params, HEAD), arrays_of(head.batch_stats, state.batch_stats, HEAD)
        features, stats = head.apply_train(arrays, stats, found.encoded, head_key)

        losses = self.parts.loss(taken_outputs(found.outputs, _PAIR, 0), labelled.labels)
        logits = taken(found.outputs["logits"], _PAIR, 1)
        pixels = jnp.sum(teacher.valid, dtype=jnp.float32)
        reliable = teacher.valid & ~teacher.unsure
        count = jnp.sum(reliable, dtype=jnp.float32)
        summed = jnp.sum(cross_entropy(logits, teacher.labels, reliable))
        losses["unlabelled"] = Loss(summed * pixels / jnp.maximum(count, 1.0), count, settings.weight)
        losses["contrast"] = contrast.contrast(
            features.reshape(-1, features.shape[-1]),
            teacher.positions,
            state.method[BANK],
            settings.contrast_weight,
            (settings.least_probability, settings.queries),
            (settings.negatives, settings.temperature),
            contrast_key,
        )
        metrics = {"kept": kept(losses, labelled), "reliable": count / jnp.maximum(pixels, 1.0)}
        return Objective(losses, found.batch_stats | prefixed(HEAD, stats), metrics)

    def after(self, state: TrainState, crops: Mapping[str, Crops], key: Array) -> dict[str, Any]:
        """The average follows the weights, and the step's negatives join the bank."""
        before = dataclasses.replace(state, step=state.step - 1)
        positions = self._teacher(before, crops).positions
        negatives = positions.negatives(self.settings.low_rank, self.settings.high_rank)
        bank = contrast.pushed(state.method[BANK], positions, negatives, self.settings.new_keys, key)
        return {**super().after(state, crops, key), BANK: bank}

    def _teacher(self, state: TrainState, crops: Mapping[str, Crops]) -> _Taught:
        """What the average says of both kinds of crops, the unlabelled ones mixed."""
        network, head, average = self.parts.network, self.made[HEAD], state.method[AVERAGE]
        labelled, unlabelled = (crops[stream.name] for stream in self.streams)
        mean = average["params"], average["batch_stats"]
        plain = seen(network, *mean, unlabelled.images[WEAK], None).outputs["logits"]
        inside = mix_boxes(unlabelled, self.settings.cutmix, _BOXES)
        made, mixed = answers(plain, 0.0, unlabelled.valid).mixed(inside), pasted(inside, unlabelled.images[WEAK])
        images = interleaved([labelled.images[WEAK], mixed], _PAIR)
        found = seen(network, *mean, images, None)
        arrays = arrays_of(head.params, mean[0], HEAD), arrays_of(head.batch_stats, mean[1], HEAD)
        features = jax.lax.stop_gradient(head.apply_eval(*arrays, found.encoded))

        logits = jax.lax.stop_gradient(found.outputs["logits"])
        p = jax.nn.softmax(taken(logits, _PAIR, 1))
        entropy = -jnp.sum(p * jnp.log(p + 1e-10), -1)
        share = self.settings.unreliable * (1.0 - self.parts.progress(state.step))
        unsure = largest(jnp.maximum(entropy, 0.0), made.valid, share)
        sure = made.valid & ~largest(jnp.maximum(entropy, 0.0), made.valid, 1.0 - share)

        def small(of_labelled: Array, of_unlabelled: Array) -> Float[Array, " n"]:
            both = interleaved([of_labelled, of_unlabelled], _PAIR).astype(jnp.float32)
            return resize_nearest(both[..., None], features.shape[1:3]).reshape(-1)

        nothing = jnp.zeros(made.labels.shape, bool)
        positions = contrast.Positions(
            probabilities=jax.nn.softmax(_nearest(logits, features).reshape(-1, p.shape[-1])),
            features=features.reshape(-1, features.shape[-1]),
            labels=small(labelled.labels, made.labels).astype(jnp.int32),
            real=small(jnp.ones_like(nothing), nothing) > 0,
            sure=small(labelled.valid, sure) > 0,
            unsure=small(labelled.valid, unsure) > 0,
        )
        return _Taught(images, made.labels, made.valid, unsure, positions)


@dataclasses.dataclass(frozen=True)
class _Taught:
    images: Float[Array, "b h w 3"]
    labels: Int[Array, "u h w"]
    valid: Bool[Array, "u h w"]
    unsure: Bool[Array, "u h w"]
    positions: contrast.Positions


def _nearest(logits: Float[Array, "b h w k"], like: Float[Array, "b p q d"]) -> Float[Array, "b p q k"]:
    return resize_nearest(logits, (like.shape[1], like.shape[2]))
