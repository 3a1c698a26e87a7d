"""Resizing as two products with fixed matrices: bilinear with both conventions of `align_corners`, and bicubic.

`jax.image.resize` knows half-pixel centres only (PyTorch's `align_corners=False`) and, when it shrinks, antialiases,
which PyTorch's `interpolate` does not. Matrices are made at trace time; a product is what TPUs are built for.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jaxtyping import Array, Float

from csst_jax.platforms import by_platform, is_portable
from csst_jax.types import CsstError

BILINEAR = Primitive("bilinear_resize")
"""Resizing as one operation, for converters to formats that have it as one: it is read and never run."""

_MOST_WEIGHTS = 1 << 28
"""Of a matrix: 1 GiB, and three while it is made. More would end the process for want of memory, without a word."""
_BLOCKS = (8, 4, 2)  # of rows, on CPU: smaller products leave out more zeros and cost more apiece


def bilinear_matrix(size: int, new_size: int, align_corners: bool) -> np.ndarray:
    """float32 [new_size, size]: row i holds the weights of output position i (PyTorch's `interpolate` formulas).

    Raises:
      CsstError: the matrix is too large.
    """
    if size * new_size > _MOST_WEIGHTS:
        raise CsstError(
            f"the image is too long for the network: resizing one of its sides from {size} to {new_size} px would take "
            f"{size * new_size * 4 / 2**30:.1f} GiB. Predict the image in windows, of window_px=1024 for example, or "
            "make it smaller."
        )
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


def bicubic_matrix(size: int, new_size: int, scale: float) -> np.ndarray:
    """float32 [new_size, size]: row i holds the weights of output position i, as PyTorch's bicubic `interpolate`.

    Keys' kernel with a = -0.75, half-pixel centres, no antialiasing; positions beyond the border count as the border.

    Args:
      size: length of the input.
      new_size: length of the output.
      scale: output positions an input position (PyTorch's `scale_factor`), which need not be `new_size / size`.
    """
    position = (np.arange(new_size, dtype=np.float64) + 0.5) / scale - 0.5
    low = np.floor(position).astype(np.int64)
    matrix = np.zeros((new_size, size), np.float64)
    for offset in (-1, 0, 1, 2):
        distance = np.abs(position - (low + offset))
        near = (1.25 * distance - 2.25) * distance**2 + 1.0
        far = -0.75 * (((distance - 5.0) * distance + 8.0) * distance - 4.0)
        weights = np.where(distance <= 1.0, near, far)
        np.add.at(matrix, (np.arange(new_size), np.clip(low + offset, 0, size - 1)), weights)
    return matrix.astype(np.float32)


def resize(x: Float[Array, "b h w c"], size: tuple[int, int], align_corners: bool) -> Float[Array, "b p q c"]:
    """Bilinear resizing to `size` (height, width), computed in float32; returns the input's dtype."""
    if x.shape[1:3] == tuple(size):
        return x
    if is_portable():
        y = BILINEAR.bind(x.astype(jnp.float32), size=tuple(size), align_corners=align_corners)
        return y.astype(x.dtype)
    rows = bilinear_matrix(x.shape[1], size[0], align_corners)
    columns = bilinear_matrix(x.shape[2], size[1], align_corners)
    # Across first, then down: the large product is then one contiguous matrix product an image, without a
    # transposition. "highest": a TPU rounds the factors of a float32 product to bfloat16 unless told otherwise.
    y = jnp.matmul(columns, x.astype(jnp.float32), precision="highest")
    b, h, q, c = y.shape
    y = jnp.matmul(jnp.broadcast_to(rows, (b, *rows.shape)), y.reshape(b, h, q * c), precision="highest")
    return y.reshape(b, size[0], q, c).astype(x.dtype)


def resize_nearest(x: Float[Array, "b h w c"], size: tuple[int, int]) -> Float[Array, "b p q c"]:
    """Resizing to `size` (height, width) that repeats pixels, as PyTorch's `interpolate(mode="nearest")` does.

    By whole factors a reshape, which devices that share the rows need not exchange anything for.
    """
    for axis, new in enumerate(size, start=1):
        factor, rest = divmod(new, x.shape[axis])
        if rest:
            x = jnp.take(x, np.arange(new) * x.shape[axis] // new, axis)
        elif factor > 1:
            x = jnp.repeat(x, factor, axis)
    return x


def resize_logits(x: Float[Array, "b h w c"], size: tuple[int, int], align_corners: bool) -> Float[Array, "b p q c"]:
    """The same for a network's logits, in float32 and with the classes outside in memory.

    Few as they are, classes fill neither a CPU's vectors nor a TPU's 128 lanes; rows of pixels do. The loss turns the
    axes back, and XLA drops both turns.
    """
    if is_portable():
        return resize(x.astype(jnp.float32), size, align_corners)
    x = jnp.moveaxis(x.astype(jnp.float32), -1, 1)
    if x.shape[2:] != tuple(size):
        x = jnp.matmul(x, bilinear_matrix(x.shape[3], size[1], align_corners).T, precision="highest")
        rows = bilinear_matrix(x.shape[2], size[0], align_corners)
        x = by_platform(
            x, cpu=lambda x: _resize_rows_by_block(x, rows), default=lambda x: jnp.matmul(rows, x, precision="highest")
        )
    return jnp.moveaxis(x, 1, -1)


def _resize_rows_by_block(x: Array, rows: np.ndarray) -> Array:
    """Product of `rows` and x, where a block of output rows sees few of the input's."""
    count = next((n for n in _BLOCKS if rows.shape[0] % n == 0), 1)
    blocks = rows.reshape(count, -1, rows.shape[1])
    seen = [np.flatnonzero(block.any(0)) for block in blocks]
    height = max(int(indices[-1] - indices[0]) + 1 for indices in seen)
    starts = [min(int(indices[0]), rows.shape[1] - height) for indices in seen]
    factors = np.stack([block[:, start : start + height] for block, start in zip(blocks, starts, strict=True)])
    parts = jnp.stack([lax.slice_in_dim(x, start, start + height, axis=2) for start in starts], axis=2)
    y = jnp.matmul(jnp.broadcast_to(factors, (*x.shape[:2], *factors.shape)), parts, precision="highest")
    return y.reshape(*x.shape[:2], rows.shape[0], x.shape[3])


def _shape(x: ShapedArray, *, size: tuple[int, int], align_corners: bool) -> ShapedArray:
    del align_corners
    return x.update(shape=(x.shape[0], *size, x.shape[3]))


BILINEAR.def_abstract_eval(_shape)
