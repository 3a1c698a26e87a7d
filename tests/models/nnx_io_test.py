"""Networks as pure functions: names, keys, modes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import nnx_io
from csst_jax.models.layers import BatchNorm, ConvBN, Dropout


class TwoDropouts(nnx.Module):
    """The input twice, through a dropout layer each; a batch normalisation besides."""

    def __init__(self, *, rngs):
        self.blocks = nnx.List([ConvBN(3, 2, rngs=rngs), BatchNorm(2, rngs=rngs)])
        self.first, self.second = Dropout(0.5, rngs=rngs), Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return {"first": self.first(x), "second": self.second(x), "deep": self.blocks[1](self.blocks[0](x))}


@pytest.fixture(scope="module")
def network():
    return nnx_io.create(TwoDropouts, seed=0)


def test_names_are_dotted_paths_and_values_are_plain_arrays(network):
    assert set(network.params) == {
        "blocks.0.conv.kernel", "blocks.0.bn.scale", "blocks.0.bn.bias", "blocks.1.scale", "blocks.1.bias",
    }  # fmt: skip
    assert set(network.batch_stats) == {f"blocks.{b}.{s}" for b in ("0.bn", "1") for s in ("mean", "var")}
    assert all(isinstance(leaf, jax.Array) for leaf in (*network.params.values(), *network.batch_stats.values()))


def test_the_seed_sets_the_initial_values(network):
    again, other = nnx_io.create(TwoDropouts, seed=0), nnx_io.create(TwoDropouts, seed=1)
    name = "blocks.0.conv.kernel"
    np.testing.assert_array_equal(network.params[name], again.params[name])
    assert not np.array_equal(network.params[name], other.params[name])


def test_abstract_has_the_same_shapes_and_computes_nothing(network):
    abstract = nnx_io.abstract(TwoDropouts)
    for ours, theirs in ((abstract.params, network.params), (abstract.batch_stats, network.batch_stats)):
        assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in ours.values())
        assert {n: (a.shape, a.dtype) for n, a in ours.items()} == {n: (a.shape, a.dtype) for n, a in theirs.items()}


def test_dropout_masks_differ_between_layers_and_keys_and_repeat_with_the_key(network):
    x = jnp.ones((1, 16, 16, 3))
    apply = jax.jit(functools.partial(network.apply_train, network.params, network.batch_stats, x))
    one, same, other = (apply(jax.random.key(k))[0] for k in (0, 0, 1))
    for name in ("first", "second"):
        np.testing.assert_array_equal(one[name], same[name])
        assert not np.array_equal(one[name], other[name])
    assert not np.array_equal(one["first"], one["second"])
    # Independent, not merely different: half of the places agree.
    assert 0.35 < np.mean(one["first"] == one["second"]) < 0.65


def test_training_returns_new_statistics_and_leaves_its_arguments_alone(network):
    x = 5 + jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    before = {name: np.array(leaf) for name, leaf in network.batch_stats.items()}
    _, stats = network.apply_train(network.params, network.batch_stats, x, jax.random.key(0))
    assert stats.keys() == before.keys()
    assert all(not np.array_equal(stats[name], before[name]) for name in ("blocks.0.bn.mean", "blocks.0.bn.var"))
    for name, leaf in network.batch_stats.items():
        np.testing.assert_array_equal(leaf, before[name])


def test_evaluation_uses_what_it_is_given(network):
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    out = network.apply_eval(network.params, network.batch_stats, x)
    np.testing.assert_array_equal(out["first"], x)
    moved = network.batch_stats | {"blocks.1.mean": jnp.array([1.0, -2.0])}
    shifted = network.apply_eval(network.params, moved, x)["deep"]
    np.testing.assert_allclose(out["deep"] - shifted, np.broadcast_to([1.0, -2.0], shifted.shape), atol=1e-4)
    doubled = network.params | {"blocks.1.scale": 2 * network.params["blocks.1.scale"]}
    np.testing.assert_allclose(
        network.apply_eval(doubled, network.batch_stats, x)["deep"], 2 * out["deep"], rtol=1e-5, atol=1e-6
    )
