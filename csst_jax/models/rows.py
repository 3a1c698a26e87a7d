"""Image rows that are shared by devices, as the layers see them.

Whoever compiles a network for a mesh with an axis `spatial` traces it under `jax.sharding.use_abstract_mesh`.
"""

from __future__ import annotations

import jax
from jaxtyping import Array, Float

SPATIAL = "spatial"  # the mesh's axis
_ANY = jax.P.UNCONSTRAINED


def divided(*rows: int) -> bool:
    """Whether the devices along `spatial` divide each of these numbers of rows evenly."""
    return all(count % _devices() == 0 for count in rows)


def evenly_shared(x: Float[Array, "b h w c"], rows: int) -> Float[Array, "b h w c"]:
    """`x`, and its gradient, with rows shared by the devices along `spatial` where these divide them and `rows` evenly.

    `rows` are those on the layer's other side: of its output where x goes in, of its input where x comes out. Elsewhere
    x is whole on each device: shared unevenly, rows are filled up, and XLA takes what fills them for rows in some
    gradients: those of strided depthwise convolutions are wrong then (JAX 0.10.2). These are the small features at a
    network's end, or a size that was not chosen for the mesh. Both are said, not left to XLA: `convolution.py` treats
    whole ones differently.
    """
    if _devices() == 1:
        return x
    shared = SPATIAL if divided(x.shape[1], rows) else None
    return jax.lax.with_sharding_constraint(x, jax.P(_ANY, shared, _ANY, _ANY))


def _devices() -> int:
    return jax.sharding.get_abstract_mesh().shape.get(SPATIAL, 1)
