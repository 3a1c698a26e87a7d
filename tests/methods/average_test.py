"""The moving average of weights and running statistics against numpy, under jit, split over devices."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from csst_jax.methods.average import WeightAverage
from csst_jax.train.sharding import make_mesh
from csst_jax.types import CsstError

close = functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7)


def drawn(seed, dtype=jnp.float32):
    """Parameters and running statistics."""
    rng = np.random.default_rng(seed)
    params = {"conv.kernel": jnp.asarray(rng.normal(size=(3, 16)), dtype), "conv.bias": jnp.asarray(rng.normal(size=3))}
    return params, {"bn.mean": jnp.asarray(rng.normal(size=16), jnp.float32)}


def as_tree(params, stats):
    return {"params": params, "batch_stats": stats}


def followed(average, steps, update=None):
    now = average.start(*drawn(0))
    for step in range(steps):
        now = (update or average.update)(now, *drawn(step + 1), jnp.int32(step))
    return jax.device_get(now)


@pytest.mark.parametrize("warm_up", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.7, 0.996])
def test_the_average_is_that_of_numpy(decay, warm_up):
    expected = jax.tree.map(np.float64, as_tree(*drawn(0)))
    for step in range(6):
        keep = min(1 - 1 / (step + 1), decay) if warm_up else decay
        blend = lambda old, new, keep=keep: keep * old + (1 - keep) * np.float64(new)  # noqa: E731
        expected = jax.tree.map(blend, expected, as_tree(*drawn(step + 1)))
    average = WeightAverage(decay, warm_up)
    jax.tree.map(close, followed(average, 6), expected)
    jax.tree.map(close, followed(average, 6, jax.jit(average.update, donate_argnums=0)), expected)


def test_while_it_warms_up_it_is_the_mean_of_the_weights_after_each_step():
    average = WeightAverage(0.996)
    jax.tree.map(np.testing.assert_array_equal, followed(average, 1), as_tree(*drawn(1)))
    mean = jax.tree.map(lambda *x: np.mean(x, 0), *(as_tree(*drawn(step + 1)) for step in range(5)))
    jax.tree.map(close, followed(average, 5), mean)


def test_late_steps_keep_the_decay():
    average = WeightAverage(0.9999)
    ones = ({"w": jnp.ones(1)}, {})
    now = average.update(average.start({"w": jnp.zeros(1)}, {}), *ones, jnp.int32(10**7))
    np.testing.assert_allclose(now["params"]["w"], 1e-4, rtol=1e-6)


def test_it_is_float32_and_shares_no_memory():
    params, stats = drawn(0)
    now = WeightAverage(0.996).start(params, stats)
    both = jax.jit(lambda *x: x, donate_argnums=(0, 1))(as_tree(params, stats), now)  # fails if a buffer comes twice
    assert jax.tree.structure(both[0]) == jax.tree.structure(both[1])
    params, stats = drawn(0, jnp.bfloat16)
    now = WeightAverage(0.996).start(params, stats)
    now = WeightAverage(0.996).update(now, params, stats, jnp.int32(3))
    assert {x.dtype for x in jax.tree.leaves(now)} == {jnp.dtype("float32")}
    shapes = jax.eval_shape(WeightAverage(0.996).start, *jax.eval_shape(lambda: (params, stats)))
    assert jax.tree.map(lambda x: x.shape, shapes) == jax.tree.map(lambda x: x.shape, now)


def test_split_arrays_stay_where_they_are():
    mesh = make_mesh(jax.devices(), spatial=1)
    average = WeightAverage(0.9)

    def layout(x):
        split = x.ndim and x.shape[-1] % 8 == 0
        return NamedSharding(mesh, PartitionSpec(*[None] * (x.ndim - 1), "data") if split else PartitionSpec())

    def update(*given):
        return step(*jax.device_put(given, jax.tree.map(layout, given)))

    given = (average.start(*drawn(0)), *drawn(1), jnp.int32(0))
    layouts = jax.tree.map(layout, given)
    step = jax.jit(average.update, in_shardings=layouts, out_shardings=layouts[0], donate_argnums=0)
    program = step.lower(*given).compile().as_text()
    assert not re.search("all-gather|all-reduce|all-to-all|collective-permute", program)
    jax.tree.map(close, followed(average, 4, update), followed(average, 4))


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_out_of_range_is_an_error(decay):
    with pytest.raises(CsstError, match=f"decay={decay}"):
        WeightAverage(decay)
