"""The training step: optimizer, layout over devices, precision, and that it learns."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.methods.real_and_pseudo import RealAndPseudo
from csst_jax.models import fast_scnn, nnx_io
from csst_jax.streams import PSEUDO, REAL, STEP, WEAK
from csst_jax.train import step as steps
from csst_jax.types import Phase
from tests.models.small_networks import drawn

PHASE = Phase(crop_px=32, global_batch=8, steps=1)


def with_scalars(batch, learning_rate=0.05, seed=3):
    return batch | {STEP: {"seed": np.uint32(seed), "learning_rate": np.float32(learning_rate)}}


def compiled(recipe, phase):
    return steps.step_program(recipe, phase).lower().compile()


def start(recipe):
    state = jax.tree.map(jnp.copy, recipe.initial_state(*recipe.method.trained()))
    return jax.device_put(state, jax.sharding.NamedSharding(recipe.mesh, jax.sharding.PartitionSpec()))


@pytest.fixture(scope="module")
def recipe(make_recipe):
    """Of one device."""
    return make_recipe(1)


@pytest.fixture(scope="module")
def step(recipe):
    """Its step."""
    return compiled(recipe, PHASE)


def run(recipe, step, make_batch, num_steps):
    state, layout = start(recipe), steps.step_program(recipe, PHASE).in_shardings[1]
    metrics = {}
    for i in range(num_steps):
        batch = with_scalars(make_batch(i, PHASE.crop_px, PHASE.global_batch))
        state, metrics = step(state, jax.device_put(batch, layout))
    return state, metrics


@pytest.mark.slow
@pytest.mark.parametrize("spatial", [1, pytest.param(2, marks=pytest.mark.essential("a step over eight devices")), 8])
def test_eight_devices_take_the_same_step_as_one(recipe, step, make_recipe, make_batch, spatial):
    one, one_metrics = run(recipe, step, make_batch, 2)
    shared = make_recipe(8, spatial=spatial)
    eight, eight_metrics = run(shared, compiled(shared, PHASE), make_batch, 2)
    assert int(one.step) == int(eight.step) == 2
    assert set(one_metrics) == {"loss", "loss_main", "loss_early", "kept", "gradient_norm", "skipped"}
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), eight_metrics, one_metrics)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), eight, one)
    assert all(len(leaf.sharding.device_set) == 8 for leaf in jax.tree.leaves(eight))


def test_step_takes_its_rate_from_the_batch(recipe, step, make_batch):
    moved = {}
    for rate in (0.0, 0.1, 0.2):
        after, _ = step(start(recipe), with_scalars(make_batch(0, 32, 8), learning_rate=rate))
        moved[rate] = np.asarray(
            after.params["classifier.kernel"] - recipe.method.parts.network.params["classifier.kernel"]
        )
    assert not moved[0.0].any() and moved[0.1].any()
    np.testing.assert_allclose(moved[0.2], 2 * moved[0.1], rtol=1e-4, atol=1e-7)


def test_draws_follow_seed_and_step(recipe, step, make_batch):
    batch = make_batch(0, 32, 8)
    losses = [float(step(start(recipe), with_scalars(batch, seed=seed))[1]["loss"]) for seed in (3, 3, 4)]
    assert losses[0] == losses[1] != losses[2]
    later = steps.TrainState(**{**vars(start(recipe)), "step": jnp.int32(1)})
    assert float(step(later, with_scalars(batch))[1]["loss"]) != losses[0], "the same dropout at every step"


def test_crops_of_another_stream_have_other_draws(recipe, make_method, make_network, make_batch):
    """Each stream counts its crops from 0 in every epoch, so the same numbers come in both."""
    settings = RealAndPseudo.Settings(1, 1, WEAK, WEAK, 1.0, 1.0, False, False, 0.0, 0.0, 0.0)
    both = dataclasses.replace(recipe, method=make_method(make_network(), RealAndPseudo, settings))
    same = make_batch(0, 32, 4)["labelled"]
    found = both.crops({REAL: same, PSEUDO: same}, jax.random.key(3))
    real, pseudo = (np.asarray(jax.random.key_data(found[name].keys)) for name in (REAL, PSEUDO))
    assert (real != pseudo).any(1).all()


def test_only_ignored_pixels_give_a_finite_step(recipe, step, make_batch):
    batch = make_batch(0, 32, 8)
    batch["labelled"]["label"][:] = 255
    state, metrics = step(start(recipe), with_scalars(batch))
    assert float(metrics["loss"]) == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_overfits_one_batch(recipe, step, make_batch):
    state = start(recipe)
    losses = []
    for _ in range(60):
        state, metrics = step(state, with_scalars(make_batch(0, 32, 8), learning_rate=0.2))
        losses.append(float(metrics["loss_main"]))
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.slow
def test_fast_scnn_overfits_one_batch_in_bfloat16_and_keeps_float32_state(make_recipe, make_batch):
    # Areas of 32 px: the network decides on a grid of 8 px, so that smaller ones leave most pixels at a border.
    small = make_batch(0, 16, 8)
    crops = small["labelled"]
    batch = {"labelled": crops | {name: crops[name].repeat(4, 1).repeat(4, 2) for name in ("image", "label")}}
    network = drawn(nnx_io.abstract(functools.partial(fast_scnn.build, 3, width=0.25, dtype=jnp.bfloat16)))
    recipe = make_recipe(1, network=network)
    step, state = compiled(recipe, Phase(crop_px=64, global_batch=8, steps=1)), start(recipe)
    losses = []
    for _ in range(60):
        state, metrics = step(state, with_scalars(batch, learning_rate=0.2))
        losses.append(float(metrics["loss_main"]))
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
    assert {leaf.dtype for leaf in jax.tree.leaves(state) if leaf.ndim} == {jnp.dtype(jnp.float32)}


def test_bfloat16_keeps_parameters_statistics_and_momentum_in_float32(make_recipe, make_network):
    program = steps.step_program(make_recipe(1, network=make_network(dtype=jnp.bfloat16)), Phase(32, 8, 1))
    state, metrics = jax.eval_shape(program.fn, *program.abstract_args)
    assert "bf16" in program.lower().as_text()
    assert {leaf.dtype for leaf in jax.tree.leaves(state) if leaf.ndim} == {jnp.dtype(jnp.float32)}
    assert {leaf.dtype for leaf in jax.tree.leaves(metrics)} == {jnp.dtype(jnp.float32)}


def test_the_platforms_options_reach_the_compiler(make_recipe, monkeypatch):
    monkeypatch.setattr(steps, "_OPTIONS", {"cpu": {"no_such_option": "false"}})
    with pytest.raises(jax.errors.JaxRuntimeError, match="no_such_option"):
        compiled(make_recipe(1), Phase(crop_px=32, global_batch=1, steps=1))
