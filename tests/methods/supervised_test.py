"""What teacher and student minimise: heads and their weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.methods.supervised import Supervised

LOSSES = {"main": (6.0, 3.0), "stride8": (8.0, 2.0), "stride16": (0.0, 0.0)}  # sums and counts


@pytest.mark.parametrize(
    "weights,expected",
    [({}, 2 + 0.5 * 4), ({"stride8": 1.0}, 2 + 4), ({"stride8": 0.0}, 2), ({"elsewhere": 9.0}, 2 + 0.5 * 4)],
)
def test_total_weighs_the_mean_of_each_head(weights, expected):
    method = Supervised(False, 0.7, 1 / 16, aux_weight=0.5, aux_weights=weights)
    np.testing.assert_allclose(method.total(jax.tree.map(jnp.float32, LOSSES)), expected)


def test_heads_of_weight_one_count_as_the_main_one():
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.standard_normal((2, 4, 4, 3), np.float32))
    labels = jnp.asarray(rng.integers(0, 3, (2, 4, 4)), jnp.uint8)
    method = Supervised(True, 0.7, 1 / 16, 0.4, {"stride8": 1.0})
    both = method.losses({"logits": logits, "aux": {"stride8": logits}}, labels)
    alone = method.losses({"logits": logits, "aux": {}}, labels)
    np.testing.assert_allclose(method.total(both), 2 * method.total(alone), rtol=1e-6)
