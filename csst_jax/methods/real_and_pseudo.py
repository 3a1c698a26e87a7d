"""Real and pseudo labels in fixed shares of every step, each with its own view, loss weight and hard pixels.

Beside the paper's union (§3.2), in which a step's crops are of either kind as they come. Pseudo-labelled crops are
strongly augmented: ST++ (Yang et al. 2022) finds that a student that sees what its teacher saw learns the teacher's
mistakes.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from csst_jax.losses.heads import HeadLosses, Loss
from csst_jax.methods.answers import require_not_negative
from csst_jax.methods.base import Crops, Method, Objective, kept
from csst_jax.methods.interleaving import interleaved, taken_outputs
from csst_jax.methods.mixing import classmix, cutmix, cutout, require_probability
from csst_jax.streams import PSEUDO, REAL, STRONG, WEAK, Stream
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.models.nnx_io import Arrays
    from csst_jax.train_state import TrainState


class RealAndPseudo(Method):
    """One pass over the crops of both kinds, so that batch normalisation sees all of them; a loss for each kind."""

    joint = True

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers.

        Attributes:
          real_parts: how many of `real_parts + pseudo_parts` crops have real labels.
          pseudo_parts: how many of them have pseudo labels; 0 trains on real labels alone.
          real_view: weak or strong augmentation of colours, for real crops.
          pseudo_view: the same for pseudo-labelled crops.
          real_weight: weight of the mean loss over the pixels of real labels.
          pseudo_weight: weight of the mean loss over the pixels of pseudo labels.
          real_ohem: whether `loss.ohem` holds for real labels.
          pseudo_ohem: whether `loss.ohem` holds for pseudo labels, whose hard pixels are often wrong ones.
          classmix: probability that a pseudo-labelled crop gets half of the classes of a real crop pasted in.
          cutmix: probability that a strong crop gets a box of another strong crop of its kind.
          cutout: probability that a strong crop loses a box.
        """

        real_parts: int
        pseudo_parts: int
        real_view: str
        pseudo_view: str
        real_weight: float
        pseudo_weight: float
        real_ohem: bool
        pseudo_ohem: bool
        classmix: float
        cutmix: float
        cutout: float

        def __post_init__(self) -> None:
            if self.real_parts < 0 or self.pseudo_parts < 0 or self.real_parts + self.pseudo_parts == 0:
                raise CsstError(
                    f"real_parts is {self.real_parts}, pseudo_parts {self.pseudo_parts}; give whole numbers, one of "
                    "them above 0: how many crops of a step are of each kind, such as 1 and 1."
                )
            for name in ("real_view", "pseudo_view"):
                if getattr(self, name) not in (WEAK, STRONG):
                    raise CsstError(f"{name} is {getattr(self, name)!r}; give {WEAK} or {STRONG}.")
            require_not_negative(real_weight=self.real_weight, pseudo_weight=self.pseudo_weight)
            if self.classmix and not (self.real_parts and self.pseudo_parts):
                raise CsstError(
                    f"classmix is {self.classmix}, and a step has no crops of "
                    f"{'pseudo' if self.real_parts else 'real'} labels to mix; set classmix to 0."
                )
            for name in ("classmix", "cutmix", "cutout"):
                require_probability(name, getattr(self, name))

    @classmethod
    def streams_of(cls, settings: Settings) -> tuple[Stream, ...]:
        """One of each kind that has parts."""
        views = dict.fromkeys([settings.real_view, *([settings.pseudo_view] if settings.classmix else [])])
        real = Stream(REAL, (REAL,), tuple(views), settings.real_parts)
        pseudo = Stream(PSEUDO, (PSEUDO,), (settings.pseudo_view,), settings.pseudo_parts)
        return tuple(stream for stream in (real, pseudo) if stream.parts)

    @classmethod
    def mixes(cls, settings: Settings, stream: Stream) -> bool:
        """Strong crops are, of both kinds."""
        return stream.views[0] == STRONG and settings.cutmix > 0

    @property
    def streams(self) -> Any:  # type: ignore[override]  # known by the instance, not by the class
        """As the settings say."""
        return self.streams_of(self.settings)

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """As `Method.objective`: the losses by head of real labels, and those of pseudo labels as `pseudo_<head>`.

        Each is a mean over the pixels that count of its own kind. Metrics: `kept` and `pseudo_kept`, the share of
        labelled pixels that the main loss counts; `pseudo_labelled`, the share of pseudo-labelled crops that is not
        void.
        """
        seen = [self._seen(stream, crops) for stream in self.streams]
        images = interleaved([x.images[s.views[0]] for s, x in zip(self.streams, seen, strict=True)], self._parts)
        outputs, stats = self.parts.network.apply_train(params, state.batch_stats, images, key)
        losses: dict[str, Loss] = {}
        metrics: dict[str, Float[Array, ""]] = {}
        for number, (stream, own) in enumerate(zip(self.streams, seen, strict=True)):
            prefix = "pseudo_" if stream.name == PSEUDO else ""
            heads = taken_outputs(outputs, self._parts, number)
            found, weight = self._losses(stream)(heads, own.labels, own.soft), self._weight(stream)
            losses |= {prefix + head: dataclasses.replace(x, weight=weight * x.weight) for head, x in found.items()}
            metrics[prefix + "kept"] = kept(found, own)
            if stream.name == PSEUDO:
                metrics["pseudo_labelled"] = jnp.sum(own.valid, dtype=jnp.float32) / own.labels.size
        return Objective(losses, stats, metrics)

    @property
    def _parts(self) -> list[int]:
        return [stream.parts for stream in self.streams]

    def _seen(self, stream: Stream, crops: Mapping[str, Crops]) -> Crops:
        """A stream's crops as the network gets them, in their first view."""
        own = crops[stream.name]
        if stream.name == PSEUDO and self.settings.classmix:
            own = classmix(crops[REAL], own, self.settings.classmix)
        if stream.views[0] != STRONG:
            return own
        return cutout(cutmix(own, self.settings.cutmix), self.settings.cutout)

    def _losses(self, stream: Stream) -> HeadLosses:
        wanted = self.settings.pseudo_ohem if stream.name == PSEUDO else self.settings.real_ohem
        return self.parts.loss if wanted else dataclasses.replace(self.parts.loss, ohem=False)

    def _weight(self, stream: Stream) -> float:
        return self.settings.pseudo_weight if stream.name == PSEUDO else self.settings.real_weight
