"""Rows that devices share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.models import convolution, rows
from csst_jax.models.batch_statistics import normalise_by_batch
from csst_jax.models.convolution import conv2d
from csst_jax.models.pooling import max_pool
from csst_jax.train.sharding import batch_shardings, make_mesh, replicated

CHANNELS = 16


def depthwise(x, kernel, stride=1):
    zeros = jnp.zeros(CHANNELS)
    y = conv2d(x, kernel, (stride, stride), ((1, 1), (1, 1)), (1, 1), CHANNELS)
    return normalise_by_batch(y, zeros + 1, zeros, zeros, 1e-5, True)[0]


def strided_depthwise(x, kernel):
    return depthwise(x, kernel, stride=2)


def pooled(x, kernel):
    return strided_depthwise(max_pool(x, 3, 2, 1), kernel)


def with_gradients(layers, height, mesh):
    """The layers on the first rows of 40, their gradients, and how rows are shared."""
    x = np.random.default_rng(0).normal(size=(2, 40, 5, CHANNELS)).astype(np.float32)
    kernel = np.random.default_rng(1).normal(size=(3, 3, 1, CHANNELS)).astype(np.float32)

    def loss(x, kernel):
        y = layers(x[:, :height], kernel)
        return jnp.sum(y * jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)), y

    def run(x, kernel):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return jax.value_and_grad(loss, (0, 1), has_aux=True)(x, kernel)

    pixels, everywhere = batch_shardings(mesh)["image"], replicated(mesh)
    jitted = jax.jit(run, in_shardings=(pixels, everywhere), out_shardings=everywhere)
    return jax.device_get(jitted(jax.device_put(x, pixels), jax.device_put(kernel, everywhere)))


@pytest.mark.parametrize("layers", [depthwise, strided_depthwise, pooled])
@pytest.mark.parametrize(("height", "spatial"), [(40, 8), (10, 8), (5, 8), (40, 4), (10, 4), (5, 4)])
def test_gradients_over_eight_devices_are_those_of_one(monkeypatch, layers, height, spatial):
    monkeypatch.setattr(convolution, "_cpu_form", lambda *how: None)  # as on every platform but the CPU
    one, eight = (with_gradients(layers, height, make_mesh(jax.devices()[:n], m)) for n, m in ((1, 1), (8, spatial)))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), eight, one)


def test_rows_are_shared_where_devices_divide_them_and_whole_elsewhere():
    x = jax.ShapeDtypeStruct((2, 12, 5, 3), jnp.float32)

    def constraint(other, spatial):
        with jax.sharding.use_abstract_mesh(make_mesh(jax.devices()[:8], spatial).abstract_mesh):
            (equation,) = jax.make_jaxpr(lambda x: rows.evenly_shared(x, other))(x).eqns or [None]
        return equation and equation.params["sharding"].spec[1]

    assert constraint(8, 4) == rows.SPATIAL
    assert constraint(6, 4) is None and constraint(8, 8) is None
    assert not jax.make_jaxpr(lambda x: rows.evenly_shared(x, 3))(x).eqns, "without a mesh"


def test_whole_rows_are_shared_again_for_a_depthwise_convolution(monkeypatch):
    """What comes whole from the layer before, with rows that devices divide again."""
    monkeypatch.setattr(convolution, "_cpu_form", lambda *how: None)
    layers = lambda x, kernel: depthwise(strided_depthwise(x, kernel), kernel)  # noqa: E731
    one, eight = (with_gradients(layers, 7, make_mesh(jax.devices()[:n], m)) for n, m in ((1, 1), (8, 4)))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), eight, one)
