"""An exponential moving average of a network's weights and running statistics."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from csst_jax.types import CsstError

Average = dict[str, dict[str, jax.Array]]
"""`{"params": …, "batch_stats": …}`, each float32 arrays by dotted name."""


@dataclasses.dataclass(frozen=True)
class WeightAverage:
    """How the average follows the network; pure functions, for any layout over devices.

    With warm-up, step n (from 0) keeps min(1 - 1 / (n + 1), decay) of the average. At first the average is then the
    plain mean of the weights after each step, without the initial ones, which would otherwise stay for about
    1 / (1 - decay) steps. (If the very first step is skipped as not finite, the second one keeps a half of them.) Both
    the formula and n from 0 are UniMatch V2's (f6afb4d `unimatch_v2.py:221`, with decay 0.996) and U2PL's (ab3d2be
    `train_semi.py`). Mean Teacher has the formula with n from 1 (CuriousAI/mean-teacher 516ce35 `pytorch/main.py`), so
    that half of the initial weights stays after the first step.

    The running statistics of batch normalisation are averaged as the weights are. Code bases differ:

    * UniMatch V2 averages all buffers with the weights' decay (`unimatch_v2.py:225`).
    * The averaged models of mmengine and torch copy the newest buffers by default (`update_buffers`, `use_buffers`).
    * Mean Teacher and U2PL average parameters alone. They run the averaged network in training mode, so that it gathers
      statistics of its own.

    Copied statistics are those of the newest weights' features, not of the averaged weights'. Own statistics need one
    more pass in training mode a step, even in a run that needs the average only at its end. Averaged statistics follow
    the averaged weights with the same delay, and cost no pass.

    Attributes:
      decay: share of the average that a step keeps, 0 to below 1.
      warm_up: whether early steps keep less.

    Raises:
      CsstError: the decay is out of range.
    """

    decay: float
    warm_up: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise CsstError(f"decay={self.decay} of the weights' average is not in 0 ≤ decay < 1.")

    def start(self, params: dict[str, jax.Array], batch_stats: dict[str, jax.Array]) -> Average:
        """The average before any step: copies, since a step that is given both to donate may not get one buffer twice.

        Args:
          params: arrays of any float dtype by dotted name.
          batch_stats: the same, running statistics.

        Returns:
          float32 copies. For shapes instead of arrays, call it as `jax.eval_shape(average.start, params, batch_stats)`.
        """
        values = {"params": params, "batch_stats": batch_stats}
        return jax.tree.map(lambda x: jnp.array(x, jnp.float32, copy=True), values)

    def update(
        self, average: Average, params: dict[str, jax.Array], batch_stats: dict[str, jax.Array], step: Int[Array, ""]
    ) -> Average:
        """The average after a step.

        Each element is computed from the same element of both: nothing is exchanged where both are split alike.

        Args:
          average: the one before.
          params: the weights after the step.
          batch_stats: the running statistics after the step.
          step: int32 scalar, steps that the average has followed before this one (`TrainState.step` at its beginning).

        Returns:
          float32 arrays, of the same names and shapes.
        """
        # 1 - min(1 - 1 / (n + 1), decay), without a difference of two numbers that are nearly 1 in float32.
        new = jnp.float32(1.0 - self.decay)
        if self.warm_up:
            new = jnp.maximum(1.0 / (step.astype(jnp.float32) + 1.0), new)
        now = jax.tree.map(lambda x: x.astype(jnp.float32), {"params": params, "batch_stats": batch_stats})
        return optax.incremental_update(now, average, new)
