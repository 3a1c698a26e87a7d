"""Image rows that are shared by devices, as the layers see them.

Whoever compiles a network for a mesh with an axis `spatial` traces it under `jax.sharding.use_abstract_mesh`.
"""

from __future__ import annotations

import jax
from jaxtyping import Array, Float

SPATIAL = "spatial"  # the mesh's axis
_ANY = jax.P.UNCONSTRAINED


def sharing_devices() -> int:
    """How many devices share an image's rows, where a program is traced for a mesh; elsewhere 1."""
    return jax.sharding.get_abstract_mesh().shape.get(SPATIAL, 1)


def evenly_shared(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """`x`, and its gradient, whole on each device along `spatial` unless these divide the rows evenly.

    Shared unevenly, rows are filled up, and XLA takes what fills them for rows in some gradients: those of strided
    depthwise convolutions are wrong then (JAX 0.10.2). These are the small features at a network's end, or a size that
    was not chosen for the mesh.
    """
    if x.shape[1] % sharing_devices() == 0:
        return x
    return jax.lax.with_sharding_constraint(x, jax.P(_ANY, None, _ANY, _ANY))


def shared_along(x: Array, axis: int | None) -> Array:
    """`x`, and its gradient, with one axis split over the devices along `spatial` instead of the image's rows.

    Every other axis behind the batch is whole on each of them, and so is this one where they do not divide it evenly.
    For values that are no rows of an image: heads of attention, hidden units. `None` splits no axis.
    """
    count = sharing_devices()
    if count == 1:
        return x
    split = axis is not None and x.shape[axis] % count == 0
    spec = [SPATIAL if split and position == axis else None for position in range(1, x.ndim)]
    return jax.lax.with_sharding_constraint(x, jax.P(_ANY, *spec))
