"""Where a step's values are first not finite."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.models import nnx_io
from csst_jax.models.rematerialisation import rematerialised
from csst_jax.streams import STEP
from csst_jax.train import optimizers
from csst_jax.train.nonfinite import NonFiniteLoss, NonFiniteSteps, first_not_finite
from csst_jax.train.step import train_step
from tests.models.rematerialisation_test import Blocks, residual
from tests.toy_network import Toy

REST = "the loss, the gradient or the running statistics"


@pytest.fixture
def step(make_recipe, make_batch):
    recipe = make_recipe(1)
    batch = make_batch(0, 32, 4) | {STEP: {"seed": np.uint32(0), "learning_rate": np.float32(0.1)}}
    return recipe, recipe.initial_state(*recipe.method.trained()), jax.tree.map(jnp.asarray, batch)


def test_finite_values_leave_the_loss(step):
    assert first_not_finite(*step) == REST


def test_a_parameter_that_is_not_finite_is_named(step):
    recipe, state, batch = step
    name = next(name for name in state.params if name.startswith("middle"))
    state.params[name] = state.params[name].at[0].set(jnp.nan)
    assert first_not_finite(recipe, state, batch) == f"parameter {name}"


def test_a_module_that_is_computed_again_is_named_as_any_other():
    network = nnx_io.create(rematerialised(functools.partial(Blocks, residual)), seed=0)
    images = jnp.full((2, 8, 8, 3), 3e38)
    found = network.finite_outputs(network.params, network.batch_stats, images, jax.random.key(0))
    wrong = [name for name, good in found.items() if not good]
    assert wrong[0].startswith("blocks.0.") and {"blocks.0", "blocks.1", "the network"} <= set(wrong)


def test_a_network_that_is_traced_meanwhile_is_left_alone(step):
    """As `StepBank` does in a thread of its own, for the other crop sizes."""
    recipe, state, _ = step
    other, images, key = recipe.method.parts.network, jnp.zeros((2, 16, 16, 3)), jax.random.key(0)

    class Interrupted(Toy):
        def __call__(self, images, perturb=None):
            if traced is not None:
                other.apply_train(state.params, state.batch_stats, images, key)
            return super().__call__(images, perturb)

    traced = None
    network = nnx_io.create(Interrupted, seed=0)
    alone = network.finite_outputs(network.params, network.batch_stats, images, key)
    traced = other
    assert network.finite_outputs(network.params, network.batch_stats, images, key).keys() == alone.keys()


def test_the_first_module_with_an_infinite_output_is_named(step):
    recipe, state, batch = step
    # Finite, and so large that the products overflow.
    name = next(name for name in state.params if name.startswith("middle") and state.params[name].ndim == 4)
    state.params[name] = jnp.full_like(state.params[name], 3e38)
    call = Toy.__call__
    assert first_not_finite(recipe, state, batch).startswith("the output of middle")
    assert Toy.__call__ is call


def test_steps_that_were_left_out_before_a_restart_count(tmp_path):
    def steps(start):
        explain = lambda step, state: {"first_not_finite": "x", "samples": []}  # noqa: E731
        return NonFiniteSteps("teacher", 2, tmp_path, explain, start)

    metrics = {"loss": float("nan"), "gradient_norm": 1.0}
    first = steps(start=0)
    first.found(3, metrics, None, "")
    first.found(7, metrics, None, "")
    steps(start=7).found(7, metrics, None, "")  # the last checkpoint is of step 7: its eighth comes again
    with pytest.raises(NonFiniteLoss):
        steps(start=8).found(8, metrics, None, "")


def test_running_statistics_that_are_not_finite_are_not_kept(step):
    """The loss is finite: what is divided by an infinite variance is 0."""
    recipe, state, batch = step
    name = next(name for name in state.params if name.startswith("stem") and state.params[name].ndim == 4)
    state.params[name] = 1e18 * state.params[name]
    after, metrics = jax.jit(functools.partial(train_step, recipe))(state, batch)
    assert jnp.isfinite(metrics["loss"]) and metrics["skipped"] == 1
    assert all(jnp.isfinite(value).all() for value in after.batch_stats.values())
    assert first_not_finite(recipe, state, batch) == REST


def test_a_gradient_whose_square_is_not_finite_is_left_out(step):
    """The update that Adam makes of it is finite: 0, and so are all later ones of an infinite second moment."""
    recipe, state, batch = step
    adamw = optimizers.make(optimizers.AdamW(0.9, 0.999, 1e-8, 0.01), state.params)
    recipe = dataclasses.replace(recipe, optimizer=adamw)
    params = state.params | {"classifier.kernel": 1e21 * state.params["classifier.kernel"]}
    state = recipe.initial_state(params, state.batch_stats)
    after, metrics = jax.jit(functools.partial(train_step, recipe))(state, batch)
    assert jnp.isfinite(metrics["loss"]) and metrics["skipped"] == 1
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
