"""Rows that devices share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.models.ops import convolution, rows
from csst_jax.models.ops.batch_statistics import normalise_by_batch
from csst_jax.models.ops.convolution import conv2d
from csst_jax.models.ops.pooling import max_pool
from csst_jax.streams import LABELLED
from csst_jax.train.sharding import input_shardings, make_mesh, replicated

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

    pixels, everywhere = input_shardings([LABELLED], mesh)["labelled"]["image"], replicated(mesh)
    jitted = jax.jit(run, in_shardings=(pixels, everywhere), out_shardings=everywhere)
    return jax.device_get(jitted(jax.device_put(x, pixels), jax.device_put(kernel, everywhere)))


@pytest.mark.slow
@pytest.mark.parametrize("layers", [depthwise, strided_depthwise, pooled])
@pytest.mark.parametrize(("height", "spatial"), [(40, 8), (10, 8), (5, 8), (40, 4), (10, 4), (5, 4)])
def test_gradients_over_eight_devices_are_those_of_one(monkeypatch, layers, height, spatial):
    monkeypatch.setattr(convolution, "_cpu_form", lambda *geometry: None)  # as on every platform but the CPU
    one, eight = (with_gradients(layers, height, make_mesh(jax.devices()[:n], m)) for n, m in ((1, 1), (8, spatial)))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), eight, one)


def test_rows_stay_shared_where_devices_divide_them():
    mesh = make_mesh(jax.devices()[:8], 4)

    def traced(height):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return str(jax.make_jaxpr(rows.evenly_shared)(np.zeros((2, height, 5, 3))))

    assert "sharding_constraint" not in traced(8)
    assert "sharding_constraint" in traced(6)
    assert "sharding_constraint" not in str(jax.make_jaxpr(rows.evenly_shared)(np.zeros((2, 7, 5, 3))))


def test_whole_rows_that_devices_divide_again_come_to_a_depthwise_convolution(monkeypatch):
    monkeypatch.setattr(convolution, "_cpu_form", lambda *geometry: None)
    layers = lambda x, kernel: depthwise(strided_depthwise(x, kernel), kernel)  # noqa: E731
    one, eight = (with_gradients(layers, 7, make_mesh(jax.devices()[:n], m)) for n, m in ((1, 1), (8, 4)))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), eight, one)
