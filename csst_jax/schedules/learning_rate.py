"""The learning rate, a function of the global step alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from csst_jax.types import Phase

BATCH_RULES = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}
"""Exponent of (batch / base batch) by name."""


def learning_rate(
    phases: Sequence[Phase],
    *,
    base_lr: float,
    power: float,
    per: str,
    batch_rule: str,
    base_batch: int,
    warmup_steps: int,
) -> Callable[[jax.typing.ArrayLike], jax.Array]:
    """Polynomial decay (paper §4.2): base_lr * (1 - progress) ** power.

    Progress is epoch / epochs, with epoch counted from 0 and constant within an epoch, or step / steps. Two things come
    on top, which the paper does not have: a factor (batch / base_batch) ** (0, 0.5 or 1) for the
    batch of the phase that the step belongs to, and a factor that rises linearly, (step + 1) / warmup_steps, until it
    is 1.

    Args:
      phases: one for each epoch, at least one.
      base_lr: learning rate at the start.
      power: exponent of the decay, at least 0.
      per: "epoch" (the paper) or "step".
      batch_rule: a key of `BATCH_RULES`.
      base_batch: batch for which base_lr is meant, at least 1.
      warmup_steps: length of the rise, in steps; 0 for none.

    Returns:
      Function of the global step (int, scalar or traced), counted from 0, that returns a float32 scalar. It is 0 from
      the end of the last phase on.
    """
    # The first step after each epoch: epochs differ in steps as the batch follows the crop.
    ends = np.cumsum([p.steps for p in phases])
    total = int(ends[-1])
    factor = (np.array([p.global_batch for p in phases]) / base_batch) ** BATCH_RULES[batch_rule]
    by_epoch = base_lr * factor
    if per == "epoch":
        by_epoch = by_epoch * (1 - np.arange(len(phases)) / len(phases)) ** power
    # One entry more for the steps after the last epoch. Made in float64 on the host, rounded once.
    table = np.append(by_epoch, 0.0).astype(np.float32)
    ends = ends.astype(np.int32)

    def at_step(step: jax.typing.ArrayLike) -> jax.Array:
        step = jnp.asarray(step, jnp.int32)
        lr = jnp.asarray(table)[jnp.searchsorted(jnp.asarray(ends), step, side="right")]
        if per == "step":
            lr = lr * jnp.maximum((total - step) / jnp.float32(total), 0.0) ** power
        if warmup_steps:
            lr = lr * jnp.minimum((step + 1) / jnp.float32(warmup_steps), 1.0)
        return lr.astype(jnp.float32)

    return at_step
