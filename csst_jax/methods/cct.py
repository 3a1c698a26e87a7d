"""Cross-consistency training (CCT, Ouali et al., arXiv:2003.09005): many decoders of changed features agree with one.

After the authors' code, yassouali/CCT 65d4e5b (`models/model.py`, `configs/config.json`). There the encoder is a ResNet
with PSPNet's pyramid. Here it is all that comes before the network's seam, and the main decoder is the network's own.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from csst_jax.losses.heads import Loss
from csst_jax.methods import auxiliary_decoders as decoders
from csst_jax.methods.answers import require_below_one, require_not_negative
from csst_jax.methods.base import Objective, kept
from csst_jax.methods.feature_dropout import require_perturbable
from csst_jax.methods.mixing import require_probability
from csst_jax.methods.modules import WithModules, arrays_of, resized_mask, seen, sizes
from csst_jax.models.ops.resize import resize
from csst_jax.streams import WEAK, half_unlabelled
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.auxiliary_decoders import Perturbation
    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays, Network
    from csst_jax.train_state import TrainState

PREFIX = "cct"
_KINDS = ("adversarial", "drop", "cutout", "context", "background", "feature_drop", "feature_noise")


class CrossConsistency(WithModules):
    """Half of a step's crops are labelled, half are not; the network predicts, without the auxiliary decoders."""

    streams = half_unlabelled(WEAK)

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers.

        Attributes:
          weight: weight of the mean squared distance between an auxiliary decoder's probabilities and the main one's.
          ramp_up: share of the training in which `weight` rises, as exp(-5 (1 - t)²).
          adversarial: number of decoders that see features after an adversarial step.
          drop: number of decoders that see features after dropout of channels.
          cutout: number of decoders that see features without a box of the foreground.
          context: number of decoders that see features without the background, which is class 0.
          background: number of decoders that see features without the foreground.
          feature_drop: number of decoders that see features without the most active positions.
          feature_noise: number of decoders that see features with multiplicative noise.
          step: length of the adversarial step.
          drop_rate: probability that `drop` drops a channel.
          cut_side: side of the box of `cutout`, relative to the foreground's bounding box.
          noise: largest relative change by the noise of `feature_noise`.
        """

        weight: float
        ramp_up: float
        adversarial: int
        drop: int
        cutout: int
        context: int
        background: int
        feature_drop: int
        feature_noise: int
        step: float
        drop_rate: float
        cut_side: float
        noise: float

        def __post_init__(self) -> None:
            require_below_one(drop_rate=self.drop_rate)
            counts = {kind: getattr(self, kind) for kind in _KINDS}
            require_not_negative(weight=self.weight, step=self.step, noise=self.noise, **counts)
            for name in ("ramp_up", "cut_side"):
                require_probability(name, getattr(self, name))
            if not any(counts.values()):
                raise CsstError(f"cct has no auxiliary decoder; set one of {', '.join(_KINDS)} to 1 or more.")

    def __post_init__(self) -> None:
        require_perturbable(self.parts.network, "cct")

    def modules(self) -> Mapping[str, Network]:
        """The auxiliary decoders by kind."""
        encoded, classes = sizes(self.parts.network).encoded, self.parts.num_classes

        def of_kind(number: int, count: int) -> Network:
            return self.parts.own(number, lambda rngs: decoders.AuxiliaryDecoders(count, encoded, classes, rngs=rngs))

        counts = {kind: getattr(self.settings, kind) for kind in _KINDS}
        return {f"{PREFIX}.{kind}": of_kind(i, n) for i, (kind, n) in enumerate(counts.items(), start=1) if n}

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """As `Method.objective`: the supervised losses, and `consistency`: a mean over decoders, pixels and classes.

        Both are compared at the auxiliary decoders' size. Metric: `kept`.
        """
        network = self.parts.network
        labelled, unlabelled = (crops[stream.name] for stream in self.streams)
        labelled_key, unlabelled_key, decoders_key = jax.random.split(key, 3)
        own, stats = arrays_of(network.params, params), arrays_of(network.batch_stats, state.batch_stats)
        outputs, stats = network.apply_train(own, stats, labelled.images[WEAK], labelled_key)
        losses = self.parts.loss(outputs, labelled.labels)
        found = seen(network, own, stats, unlabelled.images[WEAK], unlabelled_key)

        answer = jax.lax.stop_gradient(found.outputs["logits"])
        foreground = jnp.argmax(answer, -1) > 0
        height, width = (side << decoders.DOUBLINGS for side in found.encoded.shape[1:3])
        size = (height, width)
        target = jax.nn.softmax(resize(answer, size, align_corners=True))
        valid = resized_mask(unlabelled.valid, size)

        def distance(decoder: Arrays, perturbation: Perturbation, key: Array) -> Float[Array, ""]:
            logits = decoders.decoded(decoder, perturbation(found.encoded, decoder, foreground, key))
            apart = jnp.mean((jax.nn.softmax(logits) - target) ** 2, -1)
            return jnp.sum(jnp.where(valid, apart, 0.0))

        total, count = jnp.zeros(()), 0
        for number, (name, module) in enumerate(self.made.items()):
            perturbation = self._perturbation(name.removeprefix(f"{PREFIX}."))
            arrays = arrays_of(module.params, params, name)
            keys = jax.random.split(jax.random.fold_in(decoders_key, number), len(arrays["project"]))

            # One decoder after another, each computed again in the backward pass: their logits would fill the memory.
            @jax.checkpoint
            def one(decoder: Arrays, key: Array, perturbation: Perturbation = perturbation) -> Float[Array, ""]:
                return distance(decoder, perturbation, key)

            total += jnp.sum(jax.lax.map(lambda pair, one=one: one(*pair), (arrays, keys)))
            count += len(keys)
        pixels = jnp.sum(valid, dtype=jnp.float32)
        losses["consistency"] = Loss(total / count, pixels, self.settings.weight * self._risen(state.step))
        return Objective(losses, found.batch_stats, {"kept": kept(losses, labelled)})

    def _perturbation(self, kind: str) -> Perturbation:
        settings = self.settings
        return {
            "adversarial": decoders.adversarial(settings.step),
            "drop": decoders.drop(settings.drop_rate),
            "cutout": decoders.cutout(settings.cut_side),
            "context": decoders.context,
            "background": decoders.background,
            "feature_drop": decoders.feature_drop,
            "feature_noise": decoders.feature_noise(settings.noise),
        }[kind]

    def _risen(self, step: Array) -> Float[Array, ""]:
        done = self.parts.progress(step)
        passed = jnp.minimum(done / self.settings.ramp_up, 1.0) if self.settings.ramp_up else jnp.ones(())
        return jnp.exp(-5.0 * (1.0 - passed) ** 2)
