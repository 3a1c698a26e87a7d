"""Poly learning rate against the paper's formula, epochs of different length included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.schedules.learning_rate import learning_rate
from csst_jax.types import Phase

PHASES = [Phase(64, 32, 2), Phase(96, 16, 5), Phase(128, 8, 3)]
EPOCH_OF_STEP = [0] * 2 + [1] * 5 + [2] * 3


PAPER = {"base_lr": 0.02, "base_batch": 8, "power": 0.9, "per": "epoch", "batch_rule": "none", "warmup_steps": 0}


def curve(**changes):
    schedule = jax.jit(jax.vmap(learning_rate(PHASES, **PAPER | changes)))
    return np.asarray(schedule(jnp.arange(12)))


def test_per_epoch_is_the_papers_formula():
    expected = [0.02 * (1 - e / 3) ** 0.9 for e in EPOCH_OF_STEP] + [0, 0]
    np.testing.assert_allclose(curve(), expected, rtol=1e-6)


def test_per_step():
    expected = [0.02 * (1 - s / 10) ** 0.5 for s in range(10)] + [0, 0]
    np.testing.assert_allclose(curve(per="step", power=0.5), expected, rtol=1e-6)


@pytest.mark.parametrize(("rule", "exponent"), [("sqrt", 0.5), ("linear", 1)])
@pytest.mark.parametrize("per", ["epoch", "step"])
def test_batch_rule(rule, exponent, per):
    factor = np.array([(PHASES[e].global_batch / 8) ** exponent for e in EPOCH_OF_STEP] + [1, 1])
    np.testing.assert_allclose(curve(batch_rule=rule, per=per), factor * curve(per=per), rtol=1e-6)


def test_warmup_rises_to_the_decayed_rate():
    ratio = curve(warmup_steps=4)[:10] / curve()[:10]
    np.testing.assert_allclose(ratio, [0.25, 0.5, 0.75] + [1] * 7, rtol=1e-6)


def test_is_a_traceable_float32_scalar():
    schedule = learning_rate(PHASES, **PAPER | {"per": "step", "warmup_steps": 3})
    for value in (schedule(0), schedule(jnp.int32(0)), jax.jit(schedule)(np.int64(0))):
        assert value.shape == () and value.dtype == jnp.float32
        assert float(value) == pytest.approx(0.02 / 3)
