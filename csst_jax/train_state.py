"""What a training run carries from step to step."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that a checkpoint holds; the data's position follows from `step`.

    Attributes:
      step: int32 scalar, optimizer steps done.
      params: float32 arrays by dotted name: all that the optimizer trains.
      batch_stats: float32 running statistics by dotted name.
      opt_state: optax's state.
      method: the method's own state (see `csst_jax.methods.base.Method.init`); {} where it has none.
    """

    step: jax.Array
    params: dict[str, jax.Array]
    batch_stats: dict[str, jax.Array]
    opt_state: Any
    method: Any = dataclasses.field(default_factory=dict)


def abstract_state(state: TrainState, shardings: Any) -> TrainState:
    """Shapes and dtypes of `state` laid out over devices: to compile for, or to restore into.

    Args:
      state: arrays, or their shapes.
      shardings: one for all of it, or a tree of them.
    """
    shardings = jax.tree.broadcast(shardings, state)
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, shardings)
