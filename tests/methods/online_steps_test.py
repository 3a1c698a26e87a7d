"""Methods of one stage in whole steps of the toy network: fitted, restored, on any mesh."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import HeadLosses
from csst_jax.methods.base import Parts
from csst_jax.methods.cct import CrossConsistency
from csst_jax.methods.cps import CrossPseudoSupervision
from csst_jax.methods.pseudoseg import PseudoSeg
from csst_jax.methods.unimatch import UniMatch
from csst_jax.models import nnx_io
from csst_jax.train import optimizers
from csst_jax.train.checkpoint import Checkpoints
from csst_jax.train.step import step_program
from tests.methods.mean_teacher_test import PHASE, batch_of
from tests.methods.online_test import SETTINGS, STEPS, drawn_module
from tests.toy_network import Toy
from tests.train.conftest import toy_network, toy_recipe


def recipe_of(kind, devices=1, spatial=1, **options):
    def another(number):
        network = toy_network()
        params = {name: jnp.roll(value, number) for name, value in network.params.items()}
        return dataclasses.replace(network, params=params)

    recipe = toy_recipe(devices, spatial, jitter=0.0, blur=0.0, **options)
    losses = HeadLosses(cross_entropy, True, 0.7, 1 / 16, 0.4)
    method = kind(SETTINGS[kind], Parts(toy_network(), losses, another, drawn_module, STEPS, num_classes=3))
    optimizer = optimizers.make(optimizers.Sgd(0.9, 1e-4), method.trained()[0])
    return dataclasses.replace(recipe, method=method, optimizer=optimizer)


@functools.cache
def compiled(kind, devices=1, spatial=1, **options):
    recipe = recipe_of(kind, devices, spatial, **options)
    program = step_program(recipe, PHASE)
    return recipe, program, program.lower().compile()


@functools.cache
def trained(kind, steps, devices=1, spatial=1, same_batch=False, **options):
    recipe, program, step = compiled(kind, devices, spatial, **options)
    own = jax.tree.map(jnp.copy, recipe.initial_state(*recipe.method.trained()))
    state, metrics = jax.device_put(own, program.in_shardings[0]), []
    for i in range(steps):
        state, found = step(state, jax.device_put(batch_of(0 if same_batch else i)[0], program.in_shardings[1]))
        metrics.append({name: float(value) for name, value in found.items()})
    return jax.device_get(state), metrics


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETTINGS)
def test_it_fits_a_batch_of_both_kinds(kind):
    _, metrics = trained(kind, 60, same_batch=True)
    assert metrics[-1]["loss_main"] < 0.6 * metrics[0]["loss_main"] and not any(m["skipped"] for m in metrics)
    if "threshold" not in metrics[-1]:  # CorrMatch's rises with the confidence
        for name in {"agreement", "confident"} & metrics[-1].keys():
            assert metrics[-1][name] > 0.8


# One that has modules, a head's running statistics and attention of its own.
RESTORED = [
    pytest.param(kind, marks=pytest.mark.essential("a method with modules of its own goes on after a stop"))
    if kind is PseudoSeg
    else kind
    for kind in SETTINGS
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", RESTORED)
def test_a_restored_state_goes_on_to_the_bit(kind, tmp_path):
    recipe, program, step = compiled(kind)
    state, _ = trained(kind, 2)
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(jax.device_put(state, program.in_shardings[0]))
    restored = checkpoints.restore_newest(recipe.abstract_state())
    checkpoints.close()
    after, metrics = step(restored, jax.device_put(batch_of(2)[0], program.in_shardings[1]))
    expected, every = trained(kind, 3)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(after), expected)
    assert {name: float(value) for name, value in metrics.items()} == every[-1]


# Rows and images are shared on the one mesh; the others are shown with the method of most streams.
MESHES = [*((kind, 8, 2) for kind in SETTINGS), (UniMatch, 8, 1), (UniMatch, 8, 8)]


@pytest.mark.slow
@pytest.mark.parametrize("kind,devices,spatial", MESHES)
def test_every_mesh_takes_the_same_steps(kind, devices, spatial):
    expected, metrics = trained(kind, 3)
    state, found = trained(kind, 3, devices, spatial)
    for ours, theirs in zip(found, metrics, strict=True):
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-4), ours, theirs)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-6), state, expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", (UniMatch, CrossPseudoSupervision, CrossConsistency))
def test_micro_batches_take_half_of_each_stream(kind):
    state, metrics = trained(kind, 3, accumulate=2)
    assert int(state.step) == 3 and not any(m["skipped"] for m in metrics)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETTINGS)
def test_shapes_alone_are_enough_to_plan(kind):
    network = nnx_io.abstract(Toy)
    losses = HeadLosses(cross_entropy, True, 0.7, 1 / 16, 0.4)
    parts = Parts(network, losses, lambda _: network, lambda _, build: nnx_io.abstract(build), STEPS, num_classes=3)
    method = kind(SETTINGS[kind], parts)
    optimizer = optimizers.make(optimizers.Sgd(0.9, 1e-4), method.trained()[0])
    recipe = dataclasses.replace(toy_recipe(), method=method, optimizer=optimizer)
    program = step_program(recipe, PHASE)
    state, metrics = jax.eval_shape(program.fn, *program.abstract_args)
    same = jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), state, program.abstract_args[0])
    assert all(jax.tree.leaves(same)) and metrics["loss"].shape == ()
