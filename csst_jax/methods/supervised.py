"""Cross-entropy on labels, real or pseudo (paper eqs. 1 and 3), with OHEM and auxiliary heads (§4.2)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from csst_jax.losses.cross_entropy import cross_entropy, sum_and_count, valid_pixels
from csst_jax.losses.ohem import ohem_mask

if TYPE_CHECKING:
    from collections.abc import Mapping

SumAndCount = tuple["Float[Array, '']", "Float[Array, '']"]


@dataclasses.dataclass(frozen=True)
class Supervised:
    """What teacher and student minimise: they differ in their data alone.

    Attributes:
      ohem: whether easy pixels are left out.
      ohem_threshold: ground-truth probability up to which a pixel is hard.
      ohem_min_kept: least share of the valid pixels that is kept, whatever their probability.
      aux_weight: weight of each auxiliary head that `aux_weights` does not name.
      aux_weights: weights by auxiliary head.
    """

    ohem: bool
    ohem_threshold: float
    ohem_min_kept: float
    aux_weight: float
    aux_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def losses(self, outputs: dict[str, Any], labels: UInt8[Array, "b h w"]) -> dict[str, SumAndCount]:
        """(sum, count) of the kept pixels' losses by head: "main", and each auxiliary head by name."""
        heads = {"main": outputs["logits"], **outputs["aux"]}
        return {name: self._head(logits, labels) for name, logits in heads.items()}

    def total(self, losses: dict[str, SumAndCount]) -> Float[Array, ""]:
        """The scalar to differentiate: main + weight * each auxiliary head, each the mean over its kept pixels."""
        means = {name: total / jnp.maximum(count, 1.0) for name, (total, count) in losses.items()}
        main = means.pop("main")
        return main + sum(self.aux_weights.get(name, self.aux_weight) * mean for name, mean in means.items())

    def _head(self, logits: Float[Array, "b h w c"], labels: UInt8[Array, "b h w"]) -> SumAndCount:
        valid = valid_pixels(labels)
        values = cross_entropy(logits, labels, valid)
        if not self.ohem:
            return sum_and_count(values, valid)
        kept = ohem_mask(values, valid, threshold=self.ohem_threshold, min_kept_fraction=self.ohem_min_kept)
        return sum_and_count(values, kept)
