"""Hard pseudo labels that a step makes for its own unlabelled crops, and the loss on them.

The definitions are UniMatch's (0324f3d `unimatch.py`): a pixel is learned where its label is sure enough, and the sum
is divided by all pixels of the image.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Integer

from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import Loss
from csst_jax.methods.mixing import mix_boxes, pasted
from csst_jax.streams import STRONG, STRONG_2
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a network says of unlabelled crops.

    Attributes:
      labels: the most probable class.
      confident: pixels of the image whose label is sure enough to be learned.
      valid: pixels of the image, the others being padding.
    """

    labels: Integer[Array, "b h w"]
    confident: Bool[Array, "b h w"]
    valid: Bool[Array, "b h w"]

    def mixed(self, inside: Bool[Array, "b h w"]) -> Answers:
        """Those of crops that CutMix has mixed, by the same boxes."""
        return Answers(*(pasted(inside, x) for x in (self.labels, self.confident, self.valid)))

    def loss(self, logits: Float[Array, "b h w c"], weight: float | Float[Array, ""]) -> Loss:
        """Cross-entropy of the logits on the labels: the sum over confident pixels, by the count of all valid ones."""
        values = cross_entropy(logits, self.labels, self.confident)
        return Loss(jnp.sum(values), jnp.sum(self.valid, dtype=jnp.float32), weight)

    @property
    def share(self) -> Float[Array, ""]:
        """Of the valid pixels, how many are confident."""
        valid = jnp.sum(self.valid, dtype=jnp.float32)
        return jnp.sum(self.confident, dtype=jnp.float32) / jnp.maximum(valid, 1.0)


def answers(
    logits: Float[Array, "b h w c"],
    threshold: float | Float[Array, ""] | Float[Array, " c"],
    valid: Bool[Array, "b h w"],
) -> Answers:
    """The labels that logits stand for; nothing is learned through them.

    Args:
      logits: of the crops as they are, before CutMix.
      threshold: least probability of a confident label, of all classes or by class; 0 for all.
      valid: pixels of the image.
    """
    labels, confident = pseudo_labels(jax.lax.stop_gradient(logits), threshold)
    return Answers(labels, confident & valid, valid)


def pseudo_labels(
    logits: Float[Array, "b h w c"], threshold: float | Float[Array, ""] | Float[Array, " c"]
) -> tuple[Int[Array, "b h w"], Bool[Array, "b h w"]]:
    """The most probable class of each pixel, int32, and whether its probability reaches the threshold (its class's)."""
    highest = jnp.max(logits, -1)
    labels = jnp.argmax(logits, -1).astype(jnp.int32)
    probability = 1.0 / jnp.sum(jnp.exp(logits - highest[..., None]), -1)  # of the highest: its exponential is 1
    return labels, probability >= (threshold[labels] if isinstance(threshold, Array) and threshold.ndim else threshold)


def two_strong_views(unlabelled: Crops, made: Answers, cutmix: float) -> dict[str, tuple[Array, Answers]]:
    """UniMatch's strong views, each mixed by boxes of its own: by view the images, and what is learned on them.

    Args:
      unlabelled: crops in both views.
      made: of the crops before CutMix.
      cutmix: probability that a crop gets a box of the next one.
    """
    views = {view: (unlabelled.images[view], made) for view in (STRONG, STRONG_2)}
    if not cutmix:
        return views
    boxes = {view: mix_boxes(unlabelled, cutmix, second=view == STRONG_2) for view in views}
    return {view: (pasted(inside, unlabelled.images[view]), made.mixed(inside)) for view, inside in boxes.items()}


def halved(losses: Mapping[str, Loss]) -> dict[str, Loss]:
    """The losses with half of their weights: the last step of UniMatch, UniMatch V2 and CorrMatch."""
    return {name: dataclasses.replace(loss, weight=0.5 * loss.weight) for name, loss in losses.items()}


def require_below_one(**values: float) -> None:
    """Refuses a number that is not from 0 to below 1.

    Raises:
      CsstError: names it.
    """
    for name, value in values.items():
        if not 0 <= value < 1:
            raise CsstError(f"{name} is {value}; give a number from 0 to below 1.")


def require_not_negative(**values: float) -> None:
    """Refuses a number below 0.

    Raises:
      CsstError: names it.
    """
    for name, value in values.items():
        if value < 0:
            raise CsstError(f"{name} is {value}; give 0 or more.")


def require_positive(**values: float) -> None:
    """Refuses a number that is not above 0.

    Raises:
      CsstError: names it.
    """
    for name, value in values.items():
        if value <= 0:
            raise CsstError(f"{name} is {value}; give a number above 0.")
