"""3x3 convolutions by Winograd's minimal filtering, F(2x2, 3x3): 16 products for the 36 of the definition.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), §4.1. Four output pixels are a linear
map of 16 channel products, each a matrix product over all tiles of the image; the input's and the output's maps are
sums and differences. Rounding errors are about those of the definition (2e-6 of the largest value, in float32).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

Pair = tuple[int, int]

# Lavin and Gray's matrices B^T (as the two entries of each row that are not zero) and A^T; G is `_expanded`.
_INPUT = (((0, 1), (2, -1)), ((1, 1), (2, 1)), ((2, 1), (1, -1)), ((1, 1), (3, -1)))
_OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)


def winograd(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "3 3 i o"],
    padding: tuple[Pair, Pair],
    dilation: Pair = (1, 1),
    backwards: bool = False,
) -> Float[Array, "b p q d"]:
    """Cross-correlation with stride 1.

    Args:
      x: the input, channels last.
      kernel: weights.
      padding: zeros added ((above, below), (left, right)); above and left a multiple of the dilation.
      dilation: distance between taps.
      backwards: with the kernel turned around and its channels exchanged, from `o` to `i` (the gradient of `x`): that
        costs an order of products and no copy.

    Arithmetic is float32: differences of rounded numbers would lose digits. Returns the input's dtype.
    """
    if dilation != (1, 1):
        return _dilated(x, kernel, padding, dilation, backwards)
    b, h, w, c = x.shape
    dtype, x, kernel = x.dtype, x.astype(jnp.float32), kernel.astype(jnp.float32)
    (top, bottom), (left, right) = padding
    height, width = top + h + bottom - 2, left + w + right - 2
    down, across = -(-height // 2), -(-width // 2)  # tiles
    x = jnp.pad(x, ((0, 0), (top, 2 * down + 2 - h - top), (left, 2 * across + 2 - w - left), (0, 0)))
    # Two neighbours a side are dimensions of their own, so that a tile's pixel (i, j) is a dense slice over the tiles.
    x = x.reshape(b, down + 1, 2, across + 1, 2 * c)

    def pixel(i: int, j: int) -> Array:
        start = (0, i // 2, i % 2, j // 2, j % 2 * c)
        size = (b, down, 1, across, c)
        return lax.slice(x, start, [s + n for s, n in zip(start, size, strict=True)]).reshape(-1, c)

    turn = -1 if backwards else 1
    kernels = [_expanded(list(row)[::turn]) for row in _expanded(list(kernel)[::turn])]
    channels = (((1,), (1 if backwards else 0,)), ((), ()))
    products = {}
    for u in range(4):
        for v in range(4):
            seen = _sum([(si * sj, pixel(i, j)) for i, si in _INPUT[u] for j, sj in _INPUT[v]])
            products[u, v] = lax.dot_general(seen, kernels[u][v], channels)

    def output(i: int, j: int) -> Array:
        y = _sum([(_OUTPUT[i, u] * _OUTPUT[j, v], product) for (u, v), product in products.items()])
        return y.reshape(b, down, across, -1)

    rows = [jnp.stack([output(i, j) for j in (0, 1)], axis=3) for i in (0, 1)]
    y = jnp.stack(rows, axis=2).reshape(b, 2 * down, 2 * across, -1)
    return y[:, :height, :width].astype(dtype)


def _dilated(x: Array, kernel: Array, padding: tuple[Pair, Pair], dilation: Pair, backwards: bool) -> Array:
    """The same with every d-th pixel as an image of its own, in the batch."""
    b, h, w, c = x.shape
    (down, across), ((top, bottom), (left, right)) = dilation, padding
    height, width = top + h + bottom - 2 * down, left + w + right - 2 * across
    rows, columns = -(-height // down) + 2, -(-width // across) + 2  # of the small images, with what is padded
    rows, columns = rows - top // down, columns - left // across
    x = jnp.pad(x, ((0, 0), (0, max(0, rows * down - h)), (0, max(0, columns * across - w)), (0, 0)))
    x = x[:, : rows * down, : columns * across].reshape(b, rows, down, columns, across, c)
    x = x.transpose(0, 2, 4, 1, 3, 5).reshape(b * down * across, rows, columns, c)
    y = winograd(x, kernel, ((top // down, 0), (left // across, 0)), backwards=backwards)
    y = y.reshape(b, down, across, *y.shape[1:]).transpose(0, 3, 1, 4, 2, 5)
    return y.reshape(b, y.shape[1] * down, y.shape[3] * across, -1)[:, :height, :width]


def _expanded(taps: list[Array]) -> list[Array]:
    """Lavin and Gray's G times the three taps: sums fuse with each other, where a product would transpose weights."""
    first, middle, last = taps
    outer = first + last
    return [first, (outer + middle) / 2, (outer - middle) / 2, last]


def _sum(terms: list[tuple[float, Array]]) -> Array:
    """Sum of sign * array, the sign being -1, 0 or 1 and the first one 1."""
    total = None
    for sign, term in terms:
        if sign > 0:
            total = term if total is None else total + term
        elif sign < 0:
            assert total is not None  # every row of the three matrices begins with a 1
            total = total - term
    assert total is not None
    return total
