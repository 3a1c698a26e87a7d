"""The loss on soft labels against the paper's eq. 6 in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import HeadLosses
from csst_jax.losses.soft import on_soft_labels

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (2, 4, 5, 6)).astype(np.float32)
RANKED = np.argsort(RNG.random((2, 4, 5, 6)), -1)[..., :3].astype(np.uint8)
SHARES = RNG.integers(0, 80, (2, 4, 5, 2)).astype(np.uint8)
SHARES[1, 0] = 0  # real labels
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


@jax.jit
def computed(logits, labels, soft):
    """Values and gradient, and by head."""
    valid = labels != 255
    values, back = jax.vjp(lambda z: on_soft_labels(cross_entropy, z, labels, valid, soft), logits)
    outputs = {"logits": logits, "aux": {"early": 2 * logits}}
    plain = HeadLosses(cross_entropy, False, 0.7, 0.0, 0.4)(outputs, labels, soft)
    return {
        "values": values,
        "gradient": back(jnp.ones_like(values))[0],
        "heads": (plain["main"].mean, plain["early"].mean),
    }


@pytest.fixture(scope="module")
def found():
    return jax.device_get(computed(*map(jnp.asarray, (LOGITS, LABELS, SOFT))))


def test_it_is_the_inner_product_of_the_soft_label_and_the_log_of_the_output(found):
    expected = -(target() * np.log(probabilities())).sum(-1) * VALID
    np.testing.assert_allclose(found["values"], expected, rtol=1e-5)
    np.testing.assert_allclose(found["gradient"], (probabilities() - target()) * VALID[..., None], atol=1e-6)


def test_every_head_learns_the_soft_label(found):
    values = -(target() * np.log(probabilities())).sum(-1)[VALID]
    squared = probabilities() ** 2
    early = -(target() * np.log(squared / squared.sum(-1, keepdims=True))).sum(-1)[VALID]
    np.testing.assert_allclose(found["heads"], (values.mean(), early.mean()), rtol=1e-5)


@pytest.mark.slow
def test_hard_pixels_are_those_of_the_loss_on_the_soft_label():
    arrays = tuple(map(jnp.asarray, (LOGITS, LABELS, SOFT)))
    mined = HeadLosses(cross_entropy, True, 0.05, 0.0, 0.4)({"logits": arrays[0], "aux": {}}, *arrays[1:])["main"]
    values = -(target() * np.log(probabilities())).sum(-1)[VALID]
    assert mined.count == (values >= -np.log(0.05)).sum() < len(values)
