"""The loss on labels, real or pseudo: what teacher and student minimise (paper eqs. 1 and 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
from jaxtyping import Array

from csst_jax.losses.heads import MAIN
from csst_jax.methods.base import Method, Objective
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
        valid = jnp.sum(labelled.valid, dtype=jnp.float32)
        return Objective(losses, stats, {"kept": losses[MAIN].count / jnp.maximum(valid, 1.0)})
