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


def test_heads_have_their_own_weight_or_that_of_all():
    losses = HeadLosses(cross_entropy, False, 0.7, 1 / 16, 0.4, {"stride8": 0.25})
    logits, labels = jnp.zeros((1, 2, 2, 3)), jnp.zeros((1, 2, 2), jnp.uint8)
    found = losses({"logits": logits, "aux": {"stride8": logits, "stride16": logits}}, labels)
    assert {name: loss.weight for name, loss in found.items()} == {"main": 1.0, "stride8": 0.25, "stride16": 0.4}


@pytest.mark.parametrize("ohem", [False, True])
def test_class_weights_weigh_the_pixels_of_the_mean(ohem):
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((2, 6, 5, 3)).astype(np.float32)
    labels = rng.choice([0, 1, 2, 255], (2, 6, 5)).astype(np.uint8)
    weights = np.array((0.25, 3.0, 0.0))

    def loss(*class_weights):
        heads = HeadLosses(cross_entropy, ohem, 0.5, 0.1, 0.4, {}, class_weights)
        return heads({"logits": jnp.asarray(logits), "aux": {}}, jnp.asarray(labels))["main"]

    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    own = np.take_along_axis(p, np.minimum(labels, 2)[..., None].astype(int), -1)[..., 0]
    counted = (labels != 255) & (own <= 0.5 if ohem else True)
    of_pixel = weights[np.minimum(labels, 2)] * counted
    found = loss(*weights)
    np.testing.assert_allclose(found.mean, -(of_pixel * np.log(own)).sum() / of_pixel.sum(), rtol=1e-5)
    assert float(found.count) == counted.sum(), "methods take the count as the number of pixels"
    np.testing.assert_allclose(loss(7.0, 7.0, 7.0).mean, loss().mean, rtol=1e-6)
    assert float(loss(0.0, 0.0, 0.0).mean) == 0


def test_semantic_encoding_is_the_binary_cross_entropy_of_the_classes_that_labels_have():
    """Void is no class, and a soft label counts as its most probable class."""
    rng = np.random.default_rng(2)
    labels = np.array([[[0, 255], [2, 0]], [[255, 1], [1, 1]]], np.uint8)
    soft = np.zeros((2, 2, 2, 2), np.uint8)
    soft[..., 0], soft[..., 1] = 1, 100  # class 1 has 100 / 255 everywhere
    presence = rng.standard_normal((2, 3)).astype(np.float32)
    logits = jnp.asarray(rng.standard_normal((2, 2, 2, 3), np.float32))
    losses = HeadLosses(cross_entropy, True, 0.7, 1 / 16, 0.4)
    outputs = {"logits": logits, "aux": {}, "presence": jnp.asarray(presence)}
    p = 1 / (1 + np.exp(-presence.astype(np.float64)))
    shown = np.array([[1, 0, 1], [0, 1, 0]])
    expected = -(shown * np.log(p) + (1 - shown) * np.log(1 - p)).mean()
    for given in (None, jnp.asarray(soft)):
        found = losses(outputs, jnp.asarray(labels), given)
        assert list(found) == ["main", "semantic_encoding"]
        np.testing.assert_allclose(found["semantic_encoding"].mean, expected, rtol=1e-5)
    np.testing.assert_allclose(total(found), found["main"].mean + 0.2 * expected, rtol=1e-5)
