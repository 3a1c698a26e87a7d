"""Modules of a method's own: their names, and what every network shows them."""

import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.methods import modules
from csst_jax.models import nnx_io, zoo
from tests.methods.online_test import Seamed
from tests.models import small_networks


def test_a_modules_arrays_are_found_by_its_prefix():
    own = {"a.kernel": 1, "b": 2}
    arrays = {"a.kernel": 3, **modules.prefixed("head", own)}
    assert modules.arrays_of(own, arrays, "head") == own
    assert modules.arrays_of({"a.kernel": 0}, arrays) == {"a.kernel": 3}


def test_what_is_shown_is_what_the_encoder_gave():
    network, images = Seamed(), jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 3)), jnp.float32)

    def nothing(features):
        return {name: 0 * x for name, x in features.items()}

    found = modules.seen(network, network.params, network.batch_stats, images, None, nothing)
    np.testing.assert_allclose(found.encoded, images @ network.params["encoder"], rtol=1e-5)
    assert not np.asarray(found.outputs["logits"]).any()
    assert found.batch_stats == network.batch_stats, "a pass in evaluation mode"


def test_the_deepest_are_the_smallest_and_of_those_the_last():
    shapes = {"early": (1, 8, 8, 2), "middle": (1, 4, 4, 3), "late": (1, 4, 4, 5)}
    found = modules.Seen({}, {}, {name: jnp.full(shape, shape[-1], jnp.bfloat16) for name, shape in shapes.items()})
    assert found.encoded.shape == (1, 4, 4, 5) and found.encoded.dtype == jnp.float32
    np.testing.assert_array_equal(found.hypercolumn[0, 0, 0], [5] * 5 + [3] * 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_every_network_shows_what_modules_need(name):
    build = zoo.builder(name, 5, **small_networks.options(name, width=0.125, depth=0.01))
    found = modules.sizes(nnx_io.abstract(build))
    assert 0 < found.encoded < found.hypercolumn
