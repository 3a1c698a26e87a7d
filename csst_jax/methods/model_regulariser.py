"""The model regulariser: output that is smooth on pseudo labels, which are hard (paper §3.1.1, eq. 7; Table 2).

It is the MRKLD of CRST (Zou et al., ICCV 2019; yzou2/CRST f7e4df0 `crst_seg.py`): up to a constant, the divergence of
the output from the uniform distribution.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from csst_jax.losses.cross_entropy import sum_and_count
from csst_jax.losses.heads import Loss
from csst_jax.methods.answers import require_not_negative
from csst_jax.methods.base import Method, Objective, kept
from csst_jax.streams import LABELLED, WEAK
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays
    from csst_jax.train_state import TrainState

MEAN, SUM = "mean", "sum"


class ModelRegulariser(Method):
    """The supervised loss on the union of real and pseudo labels, and the regulariser on the latter's pixels."""

    streams = (dataclasses.replace(LABELLED, marked=True),)

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers.

        Attributes:
          weight: weight of the regulariser. CRST's is 0.1. The paper gives none.
          over_classes: mean over the classes, as in CRST's code, or sum, as in the paper's equation. The sum is C
            times the mean of C classes.
        """

        weight: float
        over_classes: str

        def __post_init__(self) -> None:
            require_not_negative(weight=self.weight)
            if self.over_classes not in (MEAN, SUM):
                raise CsstError(f"over_classes is {self.over_classes!r}; give {MEAN} or {SUM}.")

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """As `Method.objective`: the supervised losses by head, and `regulariser`, of the main head.

        It counts the pixels of pseudo labels that are not void. Metric: `kept`, as of the supervised method.
        """
        labelled = crops[LABELLED.name]
        assert labelled.pseudo is not None  # the stream is marked
        outputs, stats = self.parts.network.apply_train(params, state.batch_stats, labelled.images[WEAK], key)
        losses = self.parts.loss(outputs, labelled.labels, labelled.soft)
        counted = labelled.valid & labelled.pseudo[:, None, None]
        values = smoothness(outputs["logits"], self.settings.over_classes)
        losses["regulariser"] = Loss(*sum_and_count(values, counted), self.settings.weight)
        return Objective(losses, stats, {"kept": kept(losses, labelled)})


def smoothness(logits: Float[Array, "*b c"], over_classes: str) -> Float[Array, "*b"]:
    """-log p in nats, float32, over all classes: their mean or their sum.

    Args:
      logits: any floating type.
      over_classes: "mean" or "sum".
    """
    reduce = jnp.mean if over_classes == MEAN else jnp.sum
    return -reduce(jax.nn.log_softmax(logits.astype(jnp.float32)), -1)
