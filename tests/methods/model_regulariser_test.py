"""The model regulariser against the paper's eq. 7 in numpy, and whole steps of it with soft labels on any mesh."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import HeadLosses, total
from csst_jax.methods.base import Crops, Parts
from csst_jax.methods.model_regulariser import ModelRegulariser
from csst_jax.streams import STEP, WEAK
from csst_jax.train.checkpoint import Checkpoints
from csst_jax.train.step import step_program
from csst_jax.train_state import TrainState
from csst_jax.types import CsstError, Phase
from tests.methods.mean_teacher_test import Linear, softmax
from tests.train.conftest import sample_batch, toy_method, toy_network, toy_recipe

CRST = ModelRegulariser.Settings(weight=0.1, over_classes="mean")
PAPER = ModelRegulariser.Settings(weight=1.0, over_classes="sum")
PHASE = Phase(crop_px=32, global_batch=16, steps=1)


@pytest.mark.parametrize("settings", [CRST, pytest.param(PAPER, marks=pytest.mark.slow)])
def test_objective_and_gradient_are_those_that_numpy_computes(settings):
    rng = np.random.default_rng(1)
    images = rng.normal(0, 1, (3, 4, 5, 3)).astype(np.float32)
    labels = rng.integers(0, 3, (3, 4, 5)).astype(np.uint8)
    labels[:, 0] = 255
    pseudo = np.array([False, True, True])
    network = Linear()
    losses = HeadLosses(cross_entropy, False, 0.7, 1 / 16, 0.4)
    method = ModelRegulariser(settings, Parts(network, losses, None, num_classes=3))
    crops = Crops(
        {WEAK: jnp.asarray(images)},
        jnp.asarray(labels),
        jax.random.split(jax.random.key(0), 3),
        pseudo=jnp.asarray(pseudo),
    )
    state = TrainState(jnp.int32(0), network.params, network.batch_stats, (), {})

    @jax.jit
    def computed(params):
        def loss(params):
            losses = method.objective(params, state, {"labelled": crops}, jax.random.key(0)).losses
            return total(losses), {name: loss.mean for name, loss in losses.items()}

        return jax.value_and_grad(loss, has_aux=True)(params)

    (whole, means), gradient = jax.device_get(computed(network.params))
    p = softmax(images.astype(np.float64) @ np.asarray(network.params["kernel"], np.float64))
    valid, one_hot = labels != 255, np.eye(3)[np.where(labels == 255, 0, labels)]
    supervised = -(one_hot * np.log(p)).sum(-1)[valid].mean()
    of_pseudo = valid & pseudo[:, None, None]
    smooth = -np.log(p).sum(-1)[of_pseudo].mean() * (1 / 3 if settings is CRST else 1)
    np.testing.assert_allclose(means["main"], supervised, rtol=1e-5)
    np.testing.assert_allclose(means["regulariser"], smooth, rtol=1e-5)
    np.testing.assert_allclose(whole, supervised + settings.weight * smooth, rtol=1e-5)
    # -sum over c of log p_c has the gradient C p - 1 by the logits.
    by_logits = (p - one_hot) * valid[..., None] / valid.sum()
    factor = settings.weight * (1 / 3 if settings is CRST else 1) / of_pseudo.sum()
    by_logits += factor * (3 * p - 1) * of_pseudo[..., None]
    np.testing.assert_allclose(gradient["kernel"], np.einsum("bhwi,bhwo->io", images, by_logits), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "changes,message",
    [({"weight": -0.1}, r"weight is -0\.1"), ({"over_classes": "all"}, "'all'; give mean or sum")],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(CsstError, match=message):
        dataclasses.replace(CRST, **changes)


def batch_of(step):
    """Every other crop has a soft pseudo label."""
    labelled = sample_batch(step, PHASE.crop_px, PHASE.global_batch)["labelled"]
    rng = np.random.default_rng(step)
    pseudo = np.arange(PHASE.global_batch) % 2 == 1
    shape = (PHASE.global_batch, 1, PHASE.crop_px, PHASE.crop_px)
    shares = rng.integers(0, 100, shape) * pseudo[:, None, None, None]
    soft = np.concatenate([(labelled["label"][:, None] + 1) % 3 * (shares > 0), shares], 1).astype(np.uint8)
    labelled |= {"soft": soft, "pseudo": pseudo}
    return {"labelled": labelled, STEP: {"seed": np.uint32(3), "learning_rate": np.float32(0.1)}}


@functools.cache
def compiled(devices=1, spatial=1, **options):
    recipe = toy_recipe(devices, spatial, jitter=0.0, blur=0.0, soft=2, **options)
    recipe = dataclasses.replace(recipe, method=toy_method(toy_network(), ModelRegulariser, CRST))
    program = step_program(recipe, PHASE)
    return recipe, program, program.lower().compile()


@functools.cache
def trained(steps, devices=1, spatial=1, same=False, **options):
    recipe, program, step = compiled(devices, spatial, **options)
    own = jax.tree.map(jnp.copy, recipe.initial_state(*recipe.method.trained()))
    state, metrics = jax.device_put(own, program.in_shardings[0]), []
    for i in range(steps):
        state, found = step(state, jax.device_put(batch_of(0 if same else i), program.in_shardings[1]))
        metrics.append({name: float(value) for name, value in found.items()})
    return jax.device_get(state), metrics


@pytest.mark.slow
def test_it_learns_and_a_restored_state_goes_on_to_the_bit(tmp_path):
    _, metrics = trained(40, same=True)
    assert metrics[-1]["loss_main"] < 0.8 * metrics[0]["loss_main"] and not any(m["skipped"] for m in metrics)
    recipe, program, step = compiled()
    state, _ = trained(2)
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(jax.device_put(state, program.in_shardings[0]))
    restored = checkpoints.restore_newest(recipe.abstract_state())
    checkpoints.close()
    after, found = step(restored, jax.device_put(batch_of(2), program.in_shardings[1]))
    expected, every = trained(3)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(after), expected)
    assert {name: float(value) for name, value in found.items()} == every[-1]


@pytest.mark.slow
@pytest.mark.parametrize("devices,spatial,options", [(8, 1, {}), (8, 2, {}), (8, 8, {}), (4, 1, {"split_state": True})])
def test_every_mesh_takes_the_same_steps(devices, spatial, options):
    expected, metrics = trained(3)
    state, found = trained(3, devices, spatial, **options)
    for ours, theirs in zip(found, metrics, strict=True):
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-4), ours, theirs)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-6), state, expected)


@pytest.mark.slow
def test_micro_batches_have_their_soft_labels_and_marks():
    state, metrics = trained(2, accumulate=2)
    assert int(state.step) == 2 and metrics[0]["loss_regulariser"] > 0 and not any(m["skipped"] for m in metrics)
