"""FreeMatch's thresholds (Wang et al., arXiv:2205.07246): by class, from what the network is sure of so far.

After USB, microsoft/Semi-supervised-learning (`semilearn/algorithms/freematch`). USB classifies images. Here each pixel
is classified. USB passes labelled crops, weak and strong views together, in training mode, and that pass gives the
labels. Here the network labels in evaluation mode, as for consistency regularisation. USB updates the thresholds before
it uses them. Here they follow after the step, in evaluation mode. The loss on the shares of classes is left out.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from csst_jax.methods.answers import require_below_one, require_not_negative
from csst_jax.methods.consistency import Consistency
from csst_jax.methods.mixing import require_probability
from csst_jax.streams import WEAK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops, Objective
    from csst_jax.models.nnx_io import Arrays
    from csst_jax.train_state import TrainState

CONFIDENCE, SHARES = "confidence", "shares"


class FreeMatch(Consistency):
    """Half of a step's crops are labelled, half are not."""

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The method's numbers.

        Attributes:
          momentum: share of the running means that a step keeps.
          weight: weight of the loss on pseudo labels.
          cutmix: probability that a strong crop gets a box of the next one, and the box's pseudo labels.
        """

        momentum: float
        weight: float
        cutmix: float

        def __post_init__(self) -> None:
            require_not_negative(weight=self.weight)
            require_below_one(momentum=self.momentum)
            require_probability("cutmix", self.cutmix)

    def init(self, params: Arrays, batch_stats: Arrays) -> dict[str, Any]:
        """Running means of the confidence and of each class's probability, which begin alike: one by their number."""
        del params, batch_stats
        classes = self.parts.num_classes
        return {CONFIDENCE: jnp.float32(1 / classes), SHARES: jnp.full(classes, 1 / classes, jnp.float32)}

    def threshold(self, state: TrainState) -> Float[Array, " c"]:
        """The mean confidence, lower for classes that are predicted more rarely than the most frequent one."""
        shares = state.method[SHARES]
        return state.method[CONFIDENCE] * shares / jnp.max(shares)

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """As `Consistency.objective`. A further metric is `threshold`, that of the most frequent class."""
        found = super().objective(params, state, crops, key)
        return dataclasses.replace(found, metrics=found.metrics | {"threshold": state.method[CONFIDENCE]})

    def after(self, state: TrainState, crops: Mapping[str, Crops], key: Array) -> dict[str, Any]:
        """The running means follow the step's unlabelled crops."""
        del key
        network, unlabelled = self.parts.network, crops["unlabelled"]
        p = jax.nn.softmax(network.apply_eval(state.params, state.batch_stats, unlabelled.images[WEAK])["logits"])
        count = jnp.sum(unlabelled.valid, dtype=jnp.float32)
        now = {
            CONFIDENCE: jnp.sum(jnp.where(unlabelled.valid, jnp.max(p, -1), 0.0)) / jnp.maximum(count, 1.0),
            SHARES: jnp.sum(jnp.where(unlabelled.valid[..., None], p, 0.0), (0, 1, 2)) / jnp.maximum(count, 1.0),
        }
        momentum = self.settings.momentum

        def follow(old: Array, new: Array) -> Array:
            return jnp.where(count > 0, momentum * old + (1 - momentum) * new, old)

        return jax.tree.map(follow, dict(state.method), now)
