"""Bilinear resizing with both conventions of `align_corners`, as two products with fixed matrices.

`jax.image.resize` knows half-pixel centres only (PyTorch's `align_corners=False`) and, when it shrinks, antialiases,
which PyTorch's `interpolate` does not. Matrices are made at trace time; a product is what TPUs are built for.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def bilinear_matrix(size: int, new_size: int, align_corners: bool) -> np.ndarray:
    """float32 [new_size, size]: row i holds the weights of output position i (PyTorch's `interpolate` formulas)."""
    position = np.arange(new_size, dtype=np.float64)
    if align_corners:
        position *= (size - 1) / (new_size - 1) if new_size > 1 else 0.0
    else:
        position = np.maximum((position + 0.5) * size / new_size - 0.5, 0.0)
    low = np.minimum(position.astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    fraction = position - low
    matrix = np.zeros((new_size, size), np.float64)
    np.add.at(matrix, (np.arange(new_size), low), 1.0 - fraction)
    np.add.at(matrix, (np.arange(new_size), high), fraction)
    return matrix.astype(np.float32)


def resize(x: Float[Array, "b h w c"], size: tuple[int, int], align_corners: bool) -> Float[Array, "b p q c"]:
    """Bilinear resizing to `size` (height, width), computed in float32; returns the input's dtype."""
    if x.shape[1:3] == tuple(size):
        return x
    rows = bilinear_matrix(x.shape[1], size[0], align_corners)
    columns = bilinear_matrix(x.shape[2], size[1], align_corners)
    # Across first, then down: the large product is then one contiguous matrix product an image, without a
    # transposition. "highest": a TPU rounds the factors of a float32 product to bfloat16 unless told otherwise.
    y = jnp.matmul(columns, x.astype(jnp.float32), precision="highest")
    b, h, q, c = y.shape
    y = jnp.matmul(jnp.broadcast_to(rows, (b, *rows.shape)), y.reshape(b, h, q * c), precision="highest")
    return y.reshape(b, size[0], q, c).astype(x.dtype)
