"""Mean teacher: its labels, its loss against plain numpy, its average, and its step on any mesh."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import HeadLosses, total
from csst_jax.methods.average import WeightAverage
from csst_jax.methods.averaged import Averaged
from csst_jax.methods.base import Crops, Parts
from csst_jax.methods.mean_teacher import MeanTeacher
from csst_jax.methods.supervised import Supervised
from csst_jax.models.nnx_io import Network
from csst_jax.streams import STEP, STRONG, WEAK
from csst_jax.train.nonfinite import first_not_finite
from csst_jax.train.step import step_program
from csst_jax.train_state import TrainState
from csst_jax.types import CsstError, Phase
from tests.train.conftest import sample_batch, toy_method, toy_network, toy_recipe

SETTINGS = MeanTeacher.Settings(decay=0.9, confidence_threshold=0.5, weight=2.0, ramp_up_steps=10)
PHASE = Phase(crop_px=32, global_batch=16, steps=1)
close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)


class Linear(Network):
    """Pixel by pixel, and one running statistic that counts its passes in training."""

    def __init__(self):
        kernel = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
        super().__init__(None, None, None, {"kernel": jnp.asarray(kernel)}, {"passes": jnp.zeros(1)})

    def apply_train(self, params, batch_stats, images, key):
        del key
        return {"logits": images @ params["kernel"], "aux": {}}, {"passes": batch_stats["passes"] + 1}

    def apply_eval(self, params, batch_stats, images):
        return {"logits": images @ params["kernel"]}


def method_of(network, settings=SETTINGS):
    losses = HeadLosses(cross_entropy, False, 0.7, 1 / 16, 0.4)
    return MeanTeacher(settings, Parts(network, losses, lambda _: network, num_classes=3))


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_objective_is_the_one_that_numpy_computes():
    rng = np.random.default_rng(2)
    method = method_of(Linear())
    labels = rng.integers(0, 3, (2, 4, 4)).astype(np.uint8)
    labels[0, 0] = 255
    padding = np.zeros((2, 4, 4), np.uint8)
    padding[1, :2] = 255
    x, weak, strong = (rng.normal(0, 2, (2, 4, 4, 3)).astype(np.float32) for _ in range(3))
    online, average = (rng.normal(size=(3, 3)).astype(np.float32) for _ in range(2))
    state = TrainState(
        jnp.int32(4),
        {"kernel": online},
        {"passes": jnp.zeros(1)},
        (),
        {"average": {"params": {"kernel": jnp.asarray(average)}, "batch_stats": {"passes": jnp.zeros(1)}}},
    )
    keys = jax.random.split(jax.random.key(0), 2)
    crops = {
        "labelled": Crops({WEAK: jnp.asarray(x)}, jnp.asarray(labels), keys),
        "unlabelled": Crops({WEAK: jnp.asarray(weak), STRONG: jnp.asarray(strong)}, jnp.asarray(padding), keys),
    }

    def objective(params):
        return method.objective(params, state, crops, jax.random.key(0))

    params = {"kernel": jnp.asarray(online)}
    found, gradient = objective(params), jax.grad(lambda p: total(objective(p).losses))(params)
    teacher = softmax(weak.astype(np.float64) @ average)
    pseudo, sure = teacher.argmax(-1), (teacher.max(-1) >= 0.5) & (padding == 0)
    student = softmax(strong.astype(np.float64) @ online)
    losses = -np.log(np.take_along_axis(student, pseudo[..., None], -1)[..., 0])
    unlabelled = (losses * sure).sum() / (padding == 0).sum()
    own = softmax(x.astype(np.float64) @ online)
    valid = labels != 255
    main = -np.log(np.take_along_axis(own, np.where(valid, labels, 0)[..., None], -1)[..., 0])[valid].mean()
    np.testing.assert_allclose(found.losses["main"].mean, main, rtol=1e-5)
    np.testing.assert_allclose(found.losses["unlabelled"].mean, unlabelled, rtol=1e-5)
    np.testing.assert_allclose(found.losses["unlabelled"].weight, 2.0 * 5 / 10, rtol=1e-6)
    np.testing.assert_allclose(total(found.losses), main + unlabelled, rtol=1e-5)
    np.testing.assert_allclose(found.metrics["confident"], sure.sum() / (padding == 0).sum(), rtol=1e-6)
    assert float(found.batch_stats["passes"][0]) == 2, "one pass over each stream"
    one_hot = np.eye(3)[np.where(valid, labels, 0)]
    expected = np.einsum("bhwi,bhwo->io", x * valid[..., None], own - one_hot) / valid.sum()
    expected += np.einsum("bhwi,bhwo->io", strong * sure[..., None], student - np.eye(3)[pseudo]) / (padding == 0).sum()
    np.testing.assert_allclose(gradient["kernel"], expected, rtol=1e-4, atol=1e-6)


def batch_of(step, count=16, crop_px=32):
    """Half of the crops with labels, half without; a tenth of the latter's rows are padding."""
    labelled, more = (sample_batch(seed, crop_px, count // 2)["labelled"] for seed in (step, 1000 + step))
    padding = np.zeros_like(more["label"])
    padding[:, : crop_px // 10] = 255
    unlabelled = {"image": more["image"], "padding": padding, "sample": more["sample"]}
    scalars = {"seed": np.uint32(3), "learning_rate": np.float32(0.1)}
    return {"labelled": labelled, "unlabelled": unlabelled, STEP: scalars}, more["label"]


def recipe_of(devices=1, spatial=1, **options):
    recipe = toy_recipe(devices, spatial, jitter=0.0, blur=0.0, **options)
    return dataclasses.replace(recipe, method=toy_method(toy_network(), MeanTeacher, SETTINGS))


def trained(recipe, steps):
    program = step_program(recipe, PHASE)
    step = program.lower().compile()
    own = jax.tree.map(jnp.copy, recipe.initial_state(*recipe.method.trained()))
    state, metrics = jax.device_put(own, program.in_shardings[0]), []
    for i in range(steps):
        state, found = step(state, jax.device_put(batch_of(i)[0], program.in_shardings[1]))
        metrics.append({name: float(value) for name, value in found.items()})
    return state, metrics


@pytest.fixture(scope="module")
def fitted():
    """A method, its state after 80 steps, and their metrics."""
    recipe = recipe_of()
    return recipe.method, *trained(recipe, 80)


@pytest.mark.slow
def test_it_learns_and_labels_crops_that_have_no_labels(fitted):
    method, state, metrics = fitted
    assert metrics[-1]["loss_main"] < 0.6 * metrics[0]["loss_main"]
    assert metrics[-1]["confident"] > 0.5 > metrics[0]["confident"]
    assert metrics[-1]["loss"] == pytest.approx(
        metrics[-1]["loss_main"] + 0.4 * metrics[-1]["loss_early"] + 2.0 * metrics[-1]["loss_unlabelled"], rel=1e-4
    )
    crops, truth = batch_of(500)
    images = (crops["unlabelled"]["image"] / 255.0 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    logits = method.parts.network.apply_eval(*method.predicting(state), jnp.asarray(images, jnp.float32))["logits"]
    right = (np.argmax(logits, -1) == truth)[truth != 255]
    assert right.mean() > 0.6, "of three classes"


def test_what_predicts_is_the_average_and_not_the_newest_weights(fitted):
    method, state, _ = fitted
    params, stats = method.predicting(state)
    assert params.keys() == state.params.keys() and stats.keys() == state.batch_stats.keys()
    for name, value in params.items():
        assert not np.array_equal(value, state.params[name]), name
        assert np.abs(value - state.params[name]).max() < 0.2


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_average_is_numpys(wrapped):
    network = Linear()
    supervised = Supervised(Supervised.Settings(), method_of(network).parts)
    method = Averaged(WeightAverage(0.9), supervised.parts, supervised) if wrapped else method_of(network)
    expected = {"params": np.array(network.params["kernel"]), "batch_stats": np.zeros(1)}
    state = TrainState(jnp.int32(0), *method.trained(), (), method.init(*method.trained()))
    for step in range(1, 30):
        value = {"kernel": jnp.full((3, 3), float(step))}
        moved = dataclasses.replace(
            state, step=jnp.int32(step), params=value, batch_stats={"passes": jnp.ones(1) * step}
        )
        state = dataclasses.replace(moved, method=method.after(moved, {}, jax.random.key(0)))
        keep = min(1 - 1 / step, 0.9)
        expected = {part: keep * array + (1 - keep) * step for part, array in expected.items()}
    params, stats = method.predicting(state)
    np.testing.assert_allclose(params["kernel"], expected["params"], rtol=1e-5)
    np.testing.assert_allclose(stats["passes"], expected["batch_stats"], rtol=1e-5)
    if wrapped:
        assert state.method["inner"] == {} and method.streams == Supervised.streams


def test_an_average_that_is_not_finite_is_named_and_its_step_left_out(fitted):
    recipe = recipe_of()
    state = jax.tree.map(jnp.copy, recipe.initial_state(*recipe.method.trained()))
    average = state.method["average"]["params"]
    average["classifier.bias"] = average["classifier.bias"].at[0].set(jnp.nan)
    batch, _ = batch_of(0)
    assert first_not_finite(recipe, state, batch) == "the method's average/params/classifier.bias"
    program = step_program(recipe, PHASE)
    after, metrics = program.lower().compile()(state, jax.device_put(batch, program.in_shardings[1]))
    assert float(metrics["skipped"]) == 1
    assert np.array_equal(after.params["classifier.bias"], recipe.method.parts.network.params["classifier.bias"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "devices,spatial,options",
    [(8, 1, {}), (8, 2, {}), (8, 8, {}), (4, 1, {"split_state": True})],
)
def test_every_mesh_takes_the_same_steps(devices, spatial, options):
    expected, metrics = trained(recipe_of(), 3)
    state, found = trained(recipe_of(devices, spatial, **options), 3)
    for ours, theirs in zip(found, metrics, strict=True):
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4), ours, theirs)
    jax.tree.map(close, jax.device_get(state), jax.device_get(expected))


@pytest.mark.slow
def test_micro_batches_take_half_of_each_stream():
    recipe = recipe_of(accumulate=2)
    state, metrics = trained(recipe, 20)
    assert metrics[-1]["loss_main"] < metrics[0]["loss_main"] and metrics[0]["skipped"] == 0
    assert int(state.step) == 20


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"decay": 1.0}, "decay=1.0"),
        ({"confidence_threshold": 1.5}, "confidence_threshold is 1.5"),
        ({"weight": -1.0}, "weight is -1.0"),
        ({"ramp_up_steps": -1}, "ramp_up_steps is -1"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(CsstError, match=message):
        dataclasses.replace(SETTINGS, **changes)
