"""What a training run carries from step to step."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    import optax

    from csst_jax.models.nnx_io import Network


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that a checkpoint holds; the data's position follows from `step`.

    Attributes:
      step: int32 scalar, optimizer steps done.
      params: float32 arrays by dotted name.
      batch_stats: float32 running statistics by dotted name.
      opt_state: optax's state.
    """

    step: jax.Array
    params: dict[str, jax.Array]
    batch_stats: dict[str, jax.Array]
    opt_state: Any


def initial_state(network: Network, optimizer: optax.GradientTransformation) -> TrainState:
    """Step 0 of a network with its initial values."""
    return TrainState(jnp.zeros((), jnp.int32), network.params, network.batch_stats, optimizer.init(network.params))


def abstract_state(state: TrainState, shardings: Any) -> TrainState:
    """Shapes and dtypes of `state` laid out over devices: to compile for, or to restore into.

    Args:
      state: arrays, or their shapes.
      shardings: one for all of it, or a tree of them.
    """
    shardings = jax.tree.broadcast(shardings, state)
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, shardings)
