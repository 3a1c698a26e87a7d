"""Where a step's values are first not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.streams import STEP
from csst_jax.train.nonfinite import first_not_finite
from tests.toy_network import Toy


@pytest.fixture
def step(make_recipe, make_batch):
    recipe = make_recipe(1)
    batch = make_batch(0, 32, 4) | {STEP: {"seed": np.uint32(0), "learning_rate": np.float32(0.1)}}
    return recipe, recipe.initial_state(*recipe.method.trained()), jax.tree.map(jnp.asarray, batch)


def test_finite_values_leave_the_loss(step):
    assert first_not_finite(*step) == "the loss or the gradient"


def test_a_parameter_that_is_not_finite_is_named(step):
    recipe, state, batch = step
    name = next(name for name in state.params if name.startswith("middle"))
    state.params[name] = state.params[name].at[0].set(jnp.nan)
    assert first_not_finite(recipe, state, batch) == f"parameter {name}"


def test_the_first_module_with_an_infinite_output_is_named(step):
    recipe, state, batch = step
    # Finite, and so large that the products overflow.
    name = next(name for name in state.params if name.startswith("middle") and state.params[name].ndim == 4)
    state.params[name] = jnp.full_like(state.params[name], 3e38)
    call = Toy.__call__
    assert first_not_finite(recipe, state, batch).startswith("the output of middle")
    assert Toy.__call__ is call
