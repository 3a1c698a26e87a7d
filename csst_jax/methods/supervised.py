"""The loss on labels, real or pseudo: what teacher and student minimise (paper eqs. 1 and 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Array

from csst_jax.methods.base import Method, Objective, kept
from csst_jax.streams import LABELLED, WEAK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays
    from csst_jax.train_state import TrainState


class Supervised(Method):
    """Teacher and student differ in their data alone: both kinds of labels share one stream (paper §3.2's union)."""

    streams = (LABELLED,)

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """As `Method.objective`; metrics: `kept`, the share of labelled pixels that the main loss counts."""
        labelled = crops[LABELLED.name]
        outputs, stats = self.parts.network.apply_train(params, state.batch_stats, labelled.images[WEAK], key)
        losses = self.parts.loss(outputs, labelled.labels, labelled.soft)
        return Objective(losses, stats, {"kept": kept(losses, labelled)})
