"""Cross pseudo supervision (Chen et al., arXiv:2106.01226): two networks learn each other's labels, with CutMix.

After the authors' code, charlesCXK/TorchSemiSeg 5e0c29c (`exp.city/city8.res50v3+.CPS+CutMix`). There CutMix mixes two
batches of unlabelled images. Here it mixes each crop with the next one of the same batch. There gradients are divided
by the number of processes, so the authors' learning rate is not one for this code (docs/methods.md).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from csst_jax.losses.heads import Loss
from csst_jax.methods.answers import answers, require_not_negative
from csst_jax.methods.base import Objective, kept
from csst_jax.methods.mixing import ThreeBoxes, mix_boxes, pasted, require_probability
from csst_jax.methods.modules import WithModules
from csst_jax.streams import WEAK, half_unlabelled
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays, Network
    from csst_jax.train_state import TrainState

SECOND = "second."
"""Prefix of the second network's arrays."""


class CrossPseudoSupervision(WithModules):
    """Half of a step's crops are labelled, half are not; the first network predicts."""

    streams = half_unlabelled(WEAK)

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers.

        Attributes:
          weight: weight of each network's loss on the other one's labels.
          cutmix: probability that an unlabelled crop is mixed with the next one, and so are its labels.
        """

        weight: float
        cutmix: float

        def __post_init__(self) -> None:
            require_not_negative(weight=self.weight)
            require_probability("cutmix", self.cutmix)

    def modules(self) -> Mapping[str, Network]:
        """The second network, with initial values of its own.

        Raises:
          CsstError: they are the first one's: with the same crops and labels both would stay the same.
        """
        second = self.parts.another(1)
        if all(_same(x, second.params[name]) for name, x in self.parts.network.params.items()):
            raise CsstError(
                "method.name=cps trains two networks that must begin differently, and the pretrained weights give "
                "every value of both networks. Take weights that leave out the classifier, such as a trunk's, or "
                "another method."
            )
        return {SECOND[:-1]: second}

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """As `Method.objective`: the supervised losses and `cross`, and the second network's as `second_<name>`.

        `cross` is the mean over the pixels of the image. Networks label in training mode, as in the authors' code.
        Metrics: `kept`, and `agreement`, the share of pixels to which both give the same class.
        """
        network, settings = self.parts.network, self.settings
        labelled, unlabelled = (crops[stream.name] for stream in self.streams)
        images = unlabelled.images[WEAK]
        inside = mix_boxes(unlabelled, settings.cutmix, ThreeBoxes())
        losses: dict[str, Loss] = {}
        stats: Arrays = {}
        logits, made = [], []
        for number, prefix in enumerate(("", SECOND)):
            own = {name: params[prefix + name] for name in network.params}
            own_stats = {name: state.batch_stats[prefix + name] for name in network.batch_stats}
            keys = jax.random.split(jax.random.fold_in(key, number), 3)
            outputs, own_stats = network.apply_train(own, own_stats, labelled.images[WEAK], keys[0])
            found = self.parts.loss(outputs, labelled.labels)
            losses |= {prefix.replace(".", "_") + name: loss for name, loss in found.items()}
            outputs, own_stats = network.apply_train(own, own_stats, images, keys[1])
            answered = answers(outputs["logits"], 0.0, unlabelled.valid)
            if settings.cutmix:
                outputs, own_stats = network.apply_train(own, own_stats, pasted(inside, images), keys[2])
            logits.append(outputs["logits"])
            made.append(answered)
            stats |= {prefix + name: value for name, value in own_stats.items()}
        same = jnp.sum((made[0].labels == made[1].labels) & unlabelled.valid, dtype=jnp.float32)
        pixels = jnp.maximum(jnp.sum(unlabelled.valid, dtype=jnp.float32), 1.0)
        if settings.cutmix:
            made = [answered.mixed(inside) for answered in made]
        losses["cross"] = made[1].loss(logits[0], settings.weight)
        losses["second_cross"] = made[0].loss(logits[1], settings.weight)
        return Objective(losses, stats, {"kept": kept(losses, labelled), "agreement": same / pixels})


def _same(a: Any, b: Any) -> bool:
    """Whether both have the same values; never where the stage has shapes alone."""
    return not isinstance(a, jax.ShapeDtypeStruct) and bool(jnp.array_equal(a, b))
