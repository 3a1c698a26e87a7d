"""Dropout of whole channels between encoder and decoder: UniMatch's stream beside the clean one, and V2's pairs.

Both are values of `csst_jax.models.perturbation.Perturb`. A map's draw depends on the key, and its name or channels.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from csst_jax.models.nnx_io import Network
    from csst_jax.models.perturbation import Features, Perturb


def beside_clean(key: Key[Array, ""], rate: float) -> Perturb:
    """Each crop twice, one after the other: as it is, and with channels dropped (UniMatch, `deeplabv3plus.py`).

    The decoder sees both in one pass. Neighbours stay on one device.

    Args:
      key: decides which channels of which crop.
      rate: probability that a channel is dropped; the others are divided by 1 - rate.
    """

    def perturb(features: Features) -> Features:
        def twice(name: str, x: Array) -> Array:
            kept = jax.random.bernoulli(_of(key, name), 1.0 - rate, (*_flat(x), x.shape[-1]))
            return jnp.stack([x, jnp.where(kept, x / (1.0 - rate), jnp.zeros_like(x))], 1).reshape(-1, *x.shape[1:])

        return {name: twice(name, x) for name, x in features.items()}

    return perturb


def complementary(key: Key[Array, ""]) -> Perturb:
    """Of a batch of pairs, crops 2i and 2i + 1, the second keeps the channels that the first loses, doubled.

    Half of the pairs, rounded down, keep all channels (UniMatch V2, f6afb4d `dpt.py`). As there, maps of as many
    channels lose the same ones.

    Args:
      key: decides which channels, and which pairs.
    """

    def perturb(features: Features) -> Features:
        def paired(x: Array) -> Array:
            pairs = x.reshape(-1, 2, *x.shape[1:])
            count = pairs.shape[0]
            drawn = jax.random.fold_in(key, x.shape[-1])
            first = 2.0 * jax.random.bernoulli(drawn, 0.5, (*_flat(x[::2]), x.shape[-1]))
            factors = jnp.stack([first, 2.0 - first], 1)
            whole = jax.random.permutation(key, count) < count // 2
            factors = jnp.where(whole.reshape(-1, *(1,) * (pairs.ndim - 1)), 1.0, factors)
            return (pairs * factors.astype(x.dtype)).reshape(x.shape)

        return {name: paired(x) for name, x in features.items()}

    return perturb


def require_perturbable(network: Network, method: str) -> None:
    """Refuses a network without the seam.

    Raises:
      CsstError: says what the network's class needs.
    """
    if not network.perturbable:
        raise CsstError(
            f"method.name={method} changes features between encoder and decoder, and this network takes no `perturb`; "
            "add it to the network's `__call__` as docs/extending.md shows, or choose another method."
        )


def _of(key: Key[Array, ""], name: str) -> Key[Array, ""]:
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def _flat(x: Array) -> tuple[int, ...]:
    """The batch, and 1 for each axis between it and the channels."""
    return x.shape[0], *(1,) * (x.ndim - 2)
