"""Bilinear resizing against a loop over PyTorch's formulas, and against numbers worked out by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.models.ops.resize import bicubic_matrix, bilinear_matrix, resize, resize_logits, resize_nearest
from csst_jax.types import CsstError


def reference(x, size, align_corners):
    """`torch.nn.functional.interpolate(mode="bilinear")`, pixel by pixel, in float64."""

    def place(i, old, new):
        if align_corners:
            return i * (old - 1) / (new - 1) if new > 1 else 0.0
        return max((i + 0.5) * old / new - 0.5, 0.0)

    b, h, w, c = x.shape
    y = np.zeros((b, *size, c))
    for p in range(size[0]):
        for q in range(size[1]):
            v, u = place(p, h, size[0]), place(q, w, size[1])
            v0, u0 = int(v), int(u)
            v1, u1 = min(v0 + 1, h - 1), min(u0 + 1, w - 1)
            a, e = v - v0, u - u0
            top = x[:, v0, u0] * (1 - e) + x[:, v0, u1] * e
            bottom = x[:, v1, u0] * (1 - e) + x[:, v1, u1] * e
            y[:, p, q] = top * (1 - a) + bottom * a
    return y


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(
    "old,new",
    [((5, 7), (9, 4)), ((4, 4), (8, 8)), ((8, 6), (3, 1)), ((1, 1), (3, 2)), ((3, 1), (1, 5)), ((6, 6), (6, 6))],
)
def test_agrees_with_the_loop(old, new, align_corners):
    x = np.random.default_rng(0).normal(size=(2, *old, 3)).astype(np.float32)
    y = jax.jit(lambda x: resize(x, new, align_corners))(x)
    np.testing.assert_allclose(y, reference(x.astype(np.float64), new, align_corners), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(
    "old,new",
    [
        ((5, 7), (40, 28)),
        pytest.param((6, 4), (17, 9), marks=pytest.mark.slow),
        pytest.param((12, 6), (4, 3), marks=pytest.mark.slow),
        pytest.param((1, 1), (8, 2), marks=pytest.mark.slow),
        ((6, 6), (6, 6)),
    ],
)
def test_logits_are_resized_alike_with_their_gradient(old, new, align_corners):
    """By blocks of rows on CPU: of 8, of 1, of 4, of one row that every block sees, and not at all."""
    x = jax.random.normal(jax.random.key(0), (2, *old, 3))
    weight = jnp.sin(jnp.arange(2 * new[0] * new[1] * 3, dtype=jnp.float32)).reshape(2, *new, 3)

    def value_and_gradient(resize):
        return jax.jit(jax.value_and_grad(lambda x: jnp.sum(resize(x, new, align_corners) * weight)))(x)

    np.testing.assert_allclose(resize_logits(x, new, align_corners), resize(x, new, align_corners), atol=1e-6)
    for ours, theirs in zip(value_and_gradient(resize_logits), value_and_gradient(resize), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_logits_become_float32():
    assert resize_logits(jnp.ones((1, 2, 2, 3), jnp.bfloat16), (4, 4), False).dtype == jnp.float32
    assert resize_logits(jnp.ones((1, 2, 2, 3), jnp.bfloat16), (2, 2), False).dtype == jnp.float32


def row(values, new_size, align_corners):
    x = jnp.asarray(values, jnp.float32)[None, None, :, None]
    return np.asarray(resize(x, (1, new_size), align_corners))[0, 0, :, 0]


def test_numbers_worked_out_by_hand():
    # Corners aligned: outputs at 0, 2/5, 4/5, 6/5, 8/5, 2 of the three inputs.
    np.testing.assert_allclose(row([0, 10, 40], 6, True), [0, 4, 8, 16, 28, 40], rtol=1e-6)
    # Half-pixel centres: at (i + 1/2) / 2 - 1/2 = -1/4, 1/4, 3/4, 5/4, 7/4, 9/4, clipped to the first and last input.
    np.testing.assert_allclose(row([0, 10, 40], 6, False), [0, 2.5, 7.5, 17.5, 32.5, 40], rtol=1e-6)
    # Shrinking takes two neighbours and no more (no antialiasing): at (i + 1/2) * 2 - 1/2 = 1/2, 5/2.
    np.testing.assert_allclose(row([0, 10, 40, 80], 2, False), [5, 60], rtol=1e-6)
    np.testing.assert_allclose(row([0, 10, 40, 80], 2, True), [0, 80], rtol=1e-6)


@pytest.mark.parametrize("align_corners", [True, False])
def test_weights_are_a_partition_of_one(align_corners):
    for old, new in ((3, 11), (17, 5), (800, 100)):
        matrix = bilinear_matrix(old, new, align_corners)
        assert matrix.dtype == np.float32 and matrix.shape == (new, old) and matrix.min() >= 0
        np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-6)
        assert ((matrix > 0).sum(1) <= 2).all()


def test_a_matrix_that_no_memory_holds_is_refused_before_it_is_made():
    with pytest.raises(CsstError, match="from 16500 to 66000 px would take 4.1 GiB. Predict the image in windows"):
        jax.eval_shape(lambda x: resize(x, (1, 66000), True), jax.ShapeDtypeStruct((1, 1, 16500, 3), jnp.float32))


def test_bfloat16_is_resized_in_float32_and_returned_as_bfloat16():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 4, 2)), jnp.bfloat16)
    y = resize(x, (7, 7), True)
    assert y.dtype == jnp.bfloat16
    exact = reference(np.asarray(x, np.float64), (7, 7), True)
    np.testing.assert_array_equal(np.asarray(y), exact.astype(np.float32).astype(jnp.bfloat16))


def test_tpu_multiplies_in_float32_too():
    """A TPU's default precision rounds the factors of a float32 product to bfloat16."""
    shape = jax.ShapeDtypeStruct((1, 4, 4, 2), jnp.float32)
    program = jax.jit(lambda x: resize(x, (7, 7), True)).trace(shape).lower(lowering_platforms=("tpu",)).as_text()
    products = [line for line in program.splitlines() if "dot_general" in line]
    assert products and all("HIGHEST, HIGHEST" in line for line in products)


@pytest.mark.parametrize("old,new", [((2, 3), (4, 6)), ((3, 2), (5, 4)), ((4, 4), (4, 12)), ((5, 3), (2, 3))])
def test_nearest_takes_the_pixel_at_the_floor_of_the_ratio(old, new):
    x = jnp.arange(2 * old[0] * old[1] * 3.0).reshape(2, *old, 3)
    y = resize_nearest(x, new)
    assert y.shape == (2, *new, 3)
    for i in range(new[0]):
        for j in range(new[1]):
            np.testing.assert_array_equal(y[:, i, j], x[:, i * old[0] // new[0], j * old[1] // new[1]])


def keys_kernel(distance, a=-0.75):
    """The definition (Keys 1981) with PyTorch's a."""
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


@pytest.mark.parametrize(("old", "new", "scale"), [(37, 57, 57.1 / 37), (37, 4, 4.1 / 37), (5, 9, 9 / 5), (3, 3, 1.0)])
def test_bicubic_weights_are_the_kernels(old, new, scale):
    matrix = np.zeros((new, old))
    for i in range(new):
        place = (i + 0.5) / scale - 0.5
        for j in range(math.floor(place) - 1, math.floor(place) + 3):
            matrix[i, min(max(j, 0), old - 1)] += keys_kernel(place - j)
    np.testing.assert_allclose(bicubic_matrix(old, new, scale), matrix, atol=1e-6)
    np.testing.assert_allclose(matrix.sum(1), 1.0)
