"""The loss on soft labels against the paper's eq. 6 in numpy."""

import jax
import jax.numpy as jnp
import numpy as np

from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import HeadLosses
from csst_jax.losses.soft import on_soft_labels

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (2, 4, 5, 6)).astype(np.float32)
RANKED = np.argsort(RNG.random((2, 4, 5, 6)), -1)[..., :3].astype(np.uint8)
SHARES = RNG.integers(0, 80, (2, 4, 5, 2)).astype(np.uint8)
SOFT = np.concatenate([RANKED[..., 1:], SHARES], -1)
LABELS = RANKED[..., 0].copy()
LABELS[0, 0] = 255
VALID = LABELS != 255


def target():
    """y', float64 [..., 6]: probabilities that add up to 1."""
    y = np.zeros(LOGITS.shape)
    first = 1 - SHARES.astype(np.float64).sum(-1, keepdims=True) / 255
    np.put_along_axis(y, RANKED.astype(int), np.concatenate([first, SHARES / 255], -1), -1)
    np.testing.assert_allclose(y.sum(-1), 1)
    return y


def probabilities():
    e = np.exp(LOGITS.astype(np.float64))
    return e / e.sum(-1, keepdims=True)


def test_it_is_the_inner_product_of_the_soft_label_and_the_log_of_the_output():
    expected = -(target() * np.log(probabilities())).sum(-1) * VALID
    arguments = (*map(jnp.asarray, (LABELS, VALID, SOFT)),)
    found, back = jax.vjp(lambda z: on_soft_labels(cross_entropy, z, *arguments), jnp.asarray(LOGITS))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    (gradient,) = back(jnp.ones_like(found))
    np.testing.assert_allclose(gradient, (probabilities() - target()) * VALID[..., None], atol=1e-6)


def test_without_other_classes_it_is_the_loss_on_the_label():
    arguments = tuple(map(jnp.asarray, (LOGITS, LABELS, VALID)))
    np.testing.assert_array_equal(
        on_soft_labels(cross_entropy, *arguments, jnp.zeros_like(SOFT)), cross_entropy(*arguments)
    )


def test_every_head_learns_the_soft_label_and_hard_pixels_are_those_of_its_loss():
    heads = HeadLosses(cross_entropy, False, 0.7, 0.0, 0.4)
    outputs = {"logits": jnp.asarray(LOGITS), "aux": {"early": 2 * jnp.asarray(LOGITS)}}
    found = heads(outputs, jnp.asarray(LABELS), jnp.asarray(SOFT))
    values = -(target() * np.log(probabilities())).sum(-1)[VALID]
    np.testing.assert_allclose(found["main"].mean, values.mean(), rtol=1e-5)
    p = probabilities() ** 2
    early = -(target() * np.log(p / p.sum(-1, keepdims=True))).sum(-1)[VALID]
    np.testing.assert_allclose(found["early"].mean, early.mean(), rtol=1e-5)
    mined = HeadLosses(cross_entropy, True, 0.05, 0.0, 0.4)(outputs, jnp.asarray(LABELS), jnp.asarray(SOFT))["main"]
    assert mined.count == (values >= -np.log(0.05)).sum() < len(values)
