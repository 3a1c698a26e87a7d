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
from csst_jax.methods.mixing import pasted
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    logits: Float[Array, "b h w c"], threshold: float | Float[Array, " c"], valid: Bool[Array, "b h w"]
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
    logits: Float[Array, "b h w c"], threshold: float | Float[Array, " c"]
) -> tuple[Int[Array, "b h w"], Bool[Array, "b h w"]]:
    """The most probable class of each pixel, int32, and whether its probability reaches the threshold (its class's)."""
    highest = jnp.max(logits, -1)
    labels = jnp.argmax(logits, -1).astype(jnp.int32)
    probability = 1.0 / jnp.sum(jnp.exp(logits - highest[..., None]), -1)  # of the highest: its exponential is 1
    return labels, probability >= (threshold if isinstance(threshold, float | int) else threshold[labels])


def halved(losses: Mapping[str, Loss]) -> dict[str, Loss]:
    """The losses with half of their weights: UniMatch's and UniMatch V2's last step."""
    return {name: dataclasses.replace(loss, weight=0.5 * loss.weight) for name, loss in losses.items()}


def require_settings(threshold: float, **weights: float) -> None:
    """Refuses a threshold or a weight out of range.

    Raises:
      CsstError: names it.
    """
    if not 0 <= threshold < 1:
        raise CsstError(f"confidence_threshold is {threshold}; give a probability below 1.")
    for name, weight in weights.items():
        if weight < 0:
            raise CsstError(f"{name} is {weight}; give 0 or more.")
