"""The loss of a network's outputs on labels, head by head (paper eqs. 1, 3), with OHEM and auxiliary heads (§4.2).

A classifier of whole images beside them has the semantic-encoding loss (EncNet, Zhang et al., CVPR 2018).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8

from csst_jax.losses.cross_entropy import sum_and_count, valid_pixels
from csst_jax.losses.ohem import ohem_mask
from csst_jax.losses.soft import on_soft_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss before it is reduced, over the global batch.

    Attributes:
      sum: float32 scalar, of the values of all pixels that count.
      count: float32 scalar, how many pixels that is.
      weight: of the mean in the total.
    """

    sum: Float[Array, ""]
    count: Float[Array, ""]
    weight: float | Float[Array, ""] = 1.0

    @property
    def mean(self) -> Float[Array, ""]:
        """Sum / count; 0 where nothing counts."""
        return self.sum / jnp.maximum(self.count, 1.0)

    @property
    def weighted(self) -> Float[Array, ""]:
        """The mean times its weight."""
        return self.mean if isinstance(self.weight, float) and self.weight == 1 else self.weight * self.mean


MAIN = "main"
"""The head that predicts."""

SEMANTIC_ENCODING = "semantic_encoding"
"""The loss on which classes a crop shows, of networks whose outputs have `presence`."""

LEARNED = ("logits", "aux", "presence")
"""Entries of a network's outputs that have losses. A network may leave out the last."""

_SEMANTIC_ENCODING_WEIGHT = 0.2  # PyTorch-Encoding's `se_weight` (cc345c8 `encoding/nn/loss.py`), and mmsegmentation's


def classes_shown(labels: UInt8[Array, "b h w"], classes: int) -> Bool[Array, "b k"]:
    """Which classes the labels of each crop have, void left out."""
    return jnp.any(labels[..., None] == jnp.arange(classes), (1, 2))


def presence_loss(
    logits: Float[Array, "b k"], labels: UInt8[Array, "b h w"], weight: float | Float[Array, ""] = 1.0
) -> Loss:
    """Binary cross-entropy of the classes that each crop's labels have, a mean over crops and classes."""
    values = jax.nn.softplus(logits) - logits * classes_shown(labels, logits.shape[-1])
    return Loss(jnp.sum(values), jnp.float32(values.size), weight)


def total(losses: Mapping[str, Loss]) -> Float[Array, ""]:
    """The scalar to differentiate: the first loss's mean plus the others', each times its weight."""
    first, *others = (loss.weighted for loss in losses.values())
    return first + sum(others)


@dataclasses.dataclass(frozen=True)
class HeadLosses:
    """The losses of the main head and of each auxiliary one.

    Attributes:
      pixel_loss: see `csst_jax.losses.LOSSES`.
      ohem: whether easy pixels are left out.
      ohem_threshold: ground-truth probability up to which a pixel is hard.
      ohem_min_kept: least share of the valid pixels that is kept, whatever their probability.
      aux_weight: weight of each auxiliary head that `aux_weights` does not name.
      aux_weights: weights by auxiliary head.
      class_weights: of each class's pixels in the mean, as PyTorch's `CrossEntropyLoss(weight=…)` has them; () for 1
        each. A pixel has that of its label, and with a soft label that of the most probable class.
    """

    pixel_loss: Callable[..., Float[Array, "*b"]]
    ohem: bool
    ohem_threshold: float
    ohem_min_kept: float
    aux_weight: float
    aux_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    class_weights: tuple[float, ...] = ()

    def __call__(
        self,
        outputs: Mapping[str, Any],
        labels: UInt8[Array, "b h w"],
        soft: UInt8[Array, "b h w n"] | None = None,
    ) -> dict[str, Loss]:
        """Losses by head: `MAIN` first, then each auxiliary head by name, and `SEMANTIC_ENCODING` where there is one.

        Args:
          outputs: of the network in training mode: `logits`, and `aux` by head, each float "b h w c". `presence`, if
            there is one, is float "b c": of whether the crop shows each class. Soft labels count there as hard ones.
          labels: class indices, 255 = not counted.
          soft: what soft pseudo labels have beside them; see `csst_jax.methods.base.Crops`. A pixel is then hard if its
            loss on the soft label is.
        """
        losses = {MAIN: self._head(outputs["logits"], labels, soft, 1.0)}
        for name, logits in outputs["aux"].items():
            losses[name] = self._head(logits, labels, soft, self.aux_weights.get(name, self.aux_weight))
        if "presence" in outputs:
            losses[SEMANTIC_ENCODING] = presence_loss(outputs["presence"], labels, _SEMANTIC_ENCODING_WEIGHT)
        return losses

    def _head(self, logits: Float[Array, "b h w c"], labels: Array, soft: Array | None, weight: float) -> Loss:
        valid = valid_pixels(labels)
        if soft is None:
            values = self.pixel_loss(logits, labels, valid)
        else:
            values = on_soft_labels(self.pixel_loss, logits, labels, valid, soft)
        if self.ohem:  # by the values without the classes' weights, which are no probabilities
            counted = ohem_mask(values, valid, threshold=self.ohem_threshold, min_kept_fraction=self.ohem_min_kept)
        else:
            counted = valid
        if not self.class_weights:
            return Loss(*sum_and_count(values, counted), weight)
        # Comparisons in place of a gather, which is slow on a TPU; see `cross_entropy`.
        classes = jnp.arange(len(self.class_weights), dtype=labels.dtype)[:, None, None, None]
        by_class = jnp.asarray(self.class_weights, jnp.float32)[:, None, None, None]
        own = jnp.where(labels == classes, by_class, 0.0).sum(0)
        values, count = sum_and_count(values * own, counted)
        weights, _ = sum_and_count(own, counted)
        # The sum that has the weighted mean: the count stays one of pixels.
        return Loss(jnp.where(weights > 0, values * count / jnp.where(weights > 0, weights, 1.0), 0.0), count, weight)
