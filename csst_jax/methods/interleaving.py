"""Crops of several kinds as one batch, for methods that pass them through the network together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from csst_jax.losses.heads import LEARNED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def interleaved(arrays: Sequence[Float[Array, ...]], parts: Sequence[int]) -> Float[Array, ...]:
    """One batch of several, `parts` crops of each in turn, so that crops stay on the devices that hold them.

    Args:
      arrays: of shapes [units * parts[i], ...].
      parts: crops of each array in a unit.
    """
    units = [x.reshape(-1, count, *x.shape[1:]) for x, count in zip(arrays, parts, strict=True)]
    whole = jnp.concatenate(units, axis=1)
    return whole.reshape(-1, *whole.shape[2:])


def taken(batch: Float[Array, ...], parts: Sequence[int], number: int) -> Float[Array, ...]:
    """The array of that number out of what `interleaved` made of several."""
    units = batch.reshape(-1, sum(parts), *batch.shape[1:])
    begin = sum(parts[:number])
    own = units[:, begin : begin + parts[number]]
    return own.reshape(-1, *own.shape[2:])


def taken_outputs(outputs: Mapping[str, Any], parts: Sequence[int], number: int) -> dict[str, Any]:
    """Of a network's outputs on such a batch those that have losses, of the crops of one array."""
    found = {name: outputs[name] for name in LEARNED if name in outputs}
    return jax.tree.map(lambda x: taken(x, parts, number), found)
