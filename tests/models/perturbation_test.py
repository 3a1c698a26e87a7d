"""The seam between encoder and decoder: every network has it, and takes as many features as it gives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.methods.feature_dropout import beside_clean, complementary
from csst_jax.models import nnx_io, zoo
from csst_jax.models.rematerialisation import rematerialised
from tests.models import small_networks
from tests.models.small_networks import NUM_CLASSES
from tests.train.conftest import toy_network

KEY = jax.eval_shape(lambda: jax.random.key(0))


def shapes(network, perturb):
    """Of the logits and the auxiliary logits of two crops, and the names of the features that were changed."""
    names = []

    def noted(features):
        names.extend(features)
        return perturb(features)

    def outputs(params, stats, images, key):
        return network.apply_train(params, stats, images, key, noted)

    images = jax.ShapeDtypeStruct((2, 65, 65, 3), jnp.float32)
    found, stats = jax.eval_shape(outputs, network.params, network.batch_stats, images, KEY)
    assert stats == network.batch_stats
    return {"main": found["logits"].shape, **{name: x.shape for name, x in found["aux"].items()}}, names


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_every_network_decodes_a_perturbed_stream_beside_the_clean_one(name):
    build = zoo.builder(name, NUM_CLASSES, **small_networks.options(name, width=0.125, depth=0.01))
    network = nnx_io.abstract(build)
    assert network.perturbable
    found, names = shapes(network, beside_clean(jax.random.key(0), 0.5))
    assert set(found.values()) == {(4, 65, 65, NUM_CLASSES)} and len(set(names)) == len(names) >= 2
    found, _ = shapes(network, complementary(jax.random.key(0)))
    assert set(found.values()) == {(2, 65, 65, NUM_CLASSES)}


@pytest.mark.slow
def test_so_does_one_that_computes_again():
    options = small_networks.options("deeplab_v3_plus_resnet18", width=0.125, depth=0.01)
    network = nnx_io.abstract(rematerialised(zoo.builder("deeplab_v3_plus_resnet18", NUM_CLASSES, **options)))
    found, _ = shapes(network, beside_clean(jax.random.key(0), 0.5))
    assert found == {"main": (4, 65, 65, NUM_CLASSES)}


def features_of(count):
    rng = np.random.default_rng(0)
    return {"low": rng.normal(size=(count, 3, 2, 16)), "high": rng.normal(size=(count, 1, 1, 16)).astype(np.float16)}


def test_the_clean_stream_comes_first_and_a_channel_is_dropped_whole():
    features = features_of(4)
    found = jax.jit(beside_clean(jax.random.key(0), 0.25))(features)
    for name, x in found.items():
        assert x.dtype == jnp.asarray(features[name]).dtype
        np.testing.assert_allclose(x[::2], features[name], rtol=1e-6)
        ratio = np.asarray(x[1::2]) / features[name]
        kept = np.abs(ratio[:, :1, :1])
        np.testing.assert_allclose(np.abs(ratio), np.broadcast_to(kept, ratio.shape), rtol=2e-3)
        assert set(kept.astype(np.float64).round(2).ravel()) == {0.0, 1.33}


def test_channels_of_a_pair_are_complementary_and_half_of_the_pairs_keep_all():
    features = features_of(10)
    found = jax.jit(complementary(jax.random.key(0)))(features)
    whole = []
    for name, x in found.items():
        factors = (np.asarray(x, np.float64) / features[name]).round(2)
        assert (factors == factors[:, :1, :1]).all()
        first, second = factors[::2, 0, 0], factors[1::2, 0, 0]
        np.testing.assert_array_equal(first + second, 2.0)
        whole.append((first == 1).all(-1))
        assert set(np.unique(first[~whole[-1]])) == {0.0, 2.0}
    np.testing.assert_array_equal(*whole)
    assert whole[0].sum() == 2, "half of five, rounded down"


@pytest.mark.slow
def test_a_stream_that_loses_nothing_is_the_clean_one():
    network = toy_network()
    images = jnp.asarray(np.random.default_rng(1).normal(size=(2, 16, 16, 3)), jnp.float32)
    perturb = beside_clean(jax.random.key(0), 0.0)
    run = jax.jit(functools.partial(network.apply_train, perturb=perturb))
    outputs, stats = run(network.params, network.batch_stats, images, jax.random.key(2))
    plain, plain_stats = network.apply_train(network.params, network.batch_stats, images, jax.random.key(2))
    np.testing.assert_allclose(outputs["aux"]["early"][::2], plain["aux"]["early"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs["aux"]["early"][1::2], plain["aux"]["early"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(stats["middle.bn.mean"], plain_stats["middle.bn.mean"], rtol=1e-4, atol=1e-6)
