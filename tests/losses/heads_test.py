"""The losses of a network's heads, and their total."""

import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import HeadLosses, Loss, total


@pytest.mark.parametrize(
    "weights,expected",
    [({}, 2 + 0.5 * 4), ({"stride8": 1.0}, 2 + 4), ({"stride8": 0.0}, 2), ({"elsewhere": 9.0}, 2 + 0.5 * 4)],
)
def test_total_weighs_the_mean_of_each_head(weights, expected):
    sums = {"main": (6.0, 3.0), "stride8": (8.0, 2.0), "stride16": (0.0, 0.0)}
    losses = {
        name: Loss(*map(jnp.float32, values), 1.0 if name == "main" else weights.get(name, 0.5))
        for name, values in sums.items()
    }
    np.testing.assert_allclose(total(losses), expected)


def test_heads_of_weight_one_count_as_the_main_one():
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.standard_normal((2, 4, 4, 3), np.float32))
    labels = jnp.asarray(rng.integers(0, 3, (2, 4, 4)), jnp.uint8)
    losses = HeadLosses(cross_entropy, True, 0.7, 1 / 16, 0.4, {"stride8": 1.0})
    both = losses({"logits": logits, "aux": {"stride8": logits}}, labels)
    alone = losses({"logits": logits, "aux": {}}, labels)
    assert list(both) == ["main", "stride8"]
    np.testing.assert_allclose(total(both), 2 * total(alone), rtol=1e-6)
