"""The rule for gradients through a batch's statistics against what JAX derives from the formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.models.ops import batch_statistics
from csst_jax.models.ops.batch_statistics import normalise, normalise_by_batch

EPSILON = 1e-5


def plain(x, scale, bias, relu):
    x = x.astype(jnp.float32)
    mean = jnp.mean(x, (0, 1, 2))
    variance = jnp.mean(jnp.square(x - mean), (0, 1, 2))
    y = (x - mean) / jnp.sqrt(variance + EPSILON) * scale + bias
    return jnp.maximum(y, 0.0) if relu else y


def arguments(shape=(3, 5, 4, 6), dtype=jnp.float32):
    rng = np.random.default_rng(0)
    x = jnp.asarray(2 + rng.normal(size=shape) * np.linspace(0.5, 3, shape[-1]), dtype)
    scale, bias = (jnp.asarray(rng.normal(size=shape[-1]), jnp.float32) for _ in range(2))
    return x, scale, bias


def gradients(function, x, *parameters):
    weight = jnp.sin(jnp.arange(x.size, dtype=jnp.float32)).reshape(x.shape)
    return jax.jit(jax.grad(lambda *args: jnp.sum(function(*args) * weight), (0, 1, 2)))(x, *parameters)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (7, 1, 1, 4)])
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_values_and_gradients_are_those_of_the_formula(relu, shape, shift):
    args = arguments(shape)

    def ours(x, scale, bias):
        return normalise_by_batch(x, scale, bias, jnp.full_like(scale, shift), EPSILON, relu)[0]

    def theirs(x, scale, bias):
        return plain(x, scale, bias, relu)

    np.testing.assert_allclose(jax.jit(ours)(*args), jax.jit(theirs)(*args), rtol=1e-4, atol=1e-5)
    for got, expected in zip(gradients(ours, *args), gradients(theirs, *args), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture
def as_on_tpu(monkeypatch):
    monkeypatch.setattr(batch_statistics, "_by_platform", lambda form, side, *arrays: form(side, *arrays))


@pytest.mark.parametrize("relu", [False, True])
def test_blocks_have_the_statistics_values_and_gradients_of_their_pixels(relu, as_on_tpu):
    args = arguments((3, 6, 4, 5))

    def on(side):
        def y(x, scale, bias):
            return normalise_by_batch(x, scale, bias, jnp.full_like(scale, 1.5), EPSILON, relu, side)

        def values(*args):
            return y(*args)[0]

        return *jax.tree.leaves(jax.jit(y)(*args)), *gradients(values, *args)

    for got, expected in zip(on(side=2), on(side=1), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    x, scale, bias = args
    mean, variance = jnp.linspace(1, 3, 5), jnp.linspace(0.5, 2, 5)
    one, two = (normalise(x, mean, variance, scale, bias, EPSILON, relu, side) for side in (1, 2))
    np.testing.assert_allclose(two, one, rtol=1e-6)


def test_bfloat16_features_keep_their_dtype_and_float32_statistics():
    x, scale, bias = arguments(dtype=jnp.bfloat16)
    y, (mean, variance) = normalise_by_batch(x, scale, bias, jnp.zeros_like(scale), EPSILON, False)
    assert (y.dtype, mean.dtype, variance.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    exact = np.asarray(x, np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, exact.var((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(y.astype(jnp.float32), plain(x, scale, bias, False), rtol=2**-7, atol=2**-7)


def test_no_gradient_flows_through_the_statistics_for_running_averages():
    x, scale, bias = arguments()

    def of_statistics(x, scale, bias):
        mean, variance = normalise_by_batch(x, scale, bias, jnp.zeros_like(scale), EPSILON, True)[1]
        return jnp.sum(mean + variance)

    for gradient in jax.grad(of_statistics, (0, 1, 2))(x, scale, bias):
        np.testing.assert_array_equal(gradient, 0.0)
