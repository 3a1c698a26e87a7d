"""Pooling against loops over PyTorch's rules, and the gradient of the maximum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.models.ops import pooling
from csst_jax.models.ops.pooling import adaptive_average_pool, max_pool


def max_pool_loop(x, size, stride, padding, ceil_mode):
    """PyTorch's rule: in ceil mode a last window may stick out, if it starts inside the image or its left padding."""
    starts = []
    for length in x.shape[1:3]:
        last = length + padding - 1 if ceil_mode else length + 2 * padding - size
        full = [s - padding for s in range(0, last + 1, stride)]
        # a window that is not needed to reach the end of the padded image is not there even in ceil mode
        starts.append([s for s in full if s - stride + size < length + padding])
    y = np.full((x.shape[0], len(starts[0]), len(starts[1]), x.shape[3]), -np.inf, x.dtype)
    for p, top in enumerate(starts[0]):
        for q, left in enumerate(starts[1]):
            window = x[:, max(0, top) : top + size, max(0, left) : left + size]
            y[:, p, q] = window.max((1, 2))
    return y


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("size,stride,padding", [(3, 2, 1), (2, 2, 0), (3, 2, 0), (3, 1, 1), (2, 2, 1), (2, 3, 0)])
def test_max_pooling_agrees_with_a_loop(size, stride, padding, ceil_mode):
    for height, width in ((6, 7), (8, 9), (5, 4)):
        x = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32) - 3  # zeros would show
        y = max_pool(jnp.asarray(x), size, stride, padding, ceil_mode)
        np.testing.assert_array_equal(y, max_pool_loop(x, size, stride, padding, ceil_mode))


@pytest.mark.parametrize("ceil_mode,expected", [(False, (3, 3)), (True, (4, 3))])
def test_max_pooling_has_pytorchs_sizes(ceil_mode, expected):
    assert max_pool(jnp.zeros((1, 8, 7, 1)), 3, 2, 0, ceil_mode).shape[1:3] == expected
    # Ceil mode would place a third window at 3 (padding 1, of 3), in the right padding.
    assert max_pool(jnp.zeros((1, 3, 3, 1)), 2, 2, 1, ceil_mode).shape[1:3] == (2, 2)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_gradient_of_max_pooling_goes_to_the_largest(dtype):
    x = np.zeros((1, 4, 5, 1), np.float32)
    x[0, 1, 1, 0], x[0, 2, 4, 0] = 2, 1

    @jax.jit
    def gradient(x):
        weight = jnp.array([[1, 2, 4], [8, 16, 32]], x.dtype)[None, :, :, None]
        return jax.grad(lambda x: jnp.sum(weight * max_pool(x, 3, 2, 1)).astype(jnp.float32))(x)

    g = gradient(jnp.asarray(x, dtype))
    assert g.dtype == dtype
    # Rows 0-1 and 1-3, columns 0-1, 1-3 and 3-4: (1, 1) is in four windows; (2, 4) in one, the first row's last is all
    # zeros and a tie's gradient goes to one of them.
    assert float(g[0, 1, 1, 0]) == 1 + 2 + 8 + 16
    assert float(g[0, 2, 4, 0]) == 32
    assert float(jnp.sum(g.astype(jnp.float32))) == 63


@pytest.mark.parametrize("size,stride,padding", [(3, 2, 1), (2, 2, 0), (3, 1, 1), (2, 3, 0), (3, 2, 0)])
def test_the_gradient_of_max_pooling_is_xlas_own(size, stride, padding):
    """Small integers, so that most windows have several largest values: it goes to the first."""
    x = jnp.asarray(np.random.default_rng(0).integers(0, 3, (2, 9, 8, 5)), jnp.float32)

    def gradient(pool):
        weight = jnp.sin(jnp.arange(pool(x).size, dtype=jnp.float32)).reshape(pool(x).shape)
        return jax.jit(jax.grad(lambda x: jnp.sum(pool(x) * weight)))(x)

    ours = gradient(lambda x: max_pool(x, size, stride, padding))
    pads = (padding, padding)
    np.testing.assert_allclose(ours, gradient(lambda x: pooling._plain(x, size, stride, (pads, pads))), atol=1e-6)


@pytest.mark.parametrize(
    "shape,bins", [((7, 5), 3), ((6, 6), 6), ((4, 9), 6), ((1, 2), 3), ((10, 12), 1), ((13, 17), 2)]
)
def test_adaptive_pooling_agrees_with_a_loop(shape, bins):
    x = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype(np.float32)
    expected = np.zeros((2, bins, bins, 3))
    for i in range(bins):
        for j in range(bins):
            rows = slice(int(np.floor(i * shape[0] / bins)), int(np.ceil((i + 1) * shape[0] / bins)))
            columns = slice(int(np.floor(j * shape[1] / bins)), int(np.ceil((j + 1) * shape[1] / bins)))
            expected[:, i, j] = x[:, rows, columns].mean((1, 2))
    np.testing.assert_allclose(adaptive_average_pool(jnp.asarray(x), bins), expected, rtol=1e-5, atol=1e-6)
    assert adaptive_average_pool(jnp.asarray(x, jnp.bfloat16), bins).dtype == jnp.bfloat16


def test_the_mean_of_an_image_is_summed_in_float32_and_keeps_the_dtype():
    x = jnp.full((1, 64, 64, 2), 1.25, jnp.bfloat16)  # a sum in bfloat16 stops growing at some hundreds
    mean = pooling.image_mean(x)
    assert mean.shape == (1, 1, 1, 2) and mean.dtype == jnp.bfloat16
    np.testing.assert_array_equal(mean.astype(jnp.float32), 1.25)
