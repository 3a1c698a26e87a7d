"""Real and pseudo labels in fixed shares: the objective against plain numpy, and the step on any mesh."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import HeadLosses, total
from csst_jax.methods.base import Crops, Parts
from csst_jax.methods.mixing import classmix
from csst_jax.methods.real_and_pseudo import RealAndPseudo
from csst_jax.models.nnx_io import Network
from csst_jax.streams import PSEUDO, REAL, STEP, STRONG, WEAK
from csst_jax.train.step import step_program
from csst_jax.train_state import TrainState
from csst_jax.types import CsstError, Phase
from tests.train.conftest import sample_batch, toy_method, toy_network, toy_recipe

SETTINGS = RealAndPseudo.Settings(
    real_parts=1,
    pseudo_parts=1,
    real_view=WEAK,
    pseudo_view=STRONG,
    real_weight=0.5,
    pseudo_weight=0.25,
    real_ohem=True,
    pseudo_ohem=False,
    classmix=0.0,
    cutmix=0.5,
    cutout=0.0,
)
PHASE = Phase(crop_px=32, global_batch=16, steps=1)


class Linear(Network):
    """Pixel by pixel, with one auxiliary head, and one running statistic that keeps the mean of its images."""

    def __init__(self):
        kernel = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
        super().__init__(None, None, None, {"kernel": jnp.asarray(kernel)}, {"mean": jnp.zeros(1)})

    def apply_train(self, params, batch_stats, images, key):
        del key, batch_stats
        logits = images @ params["kernel"]
        return {"logits": logits, "aux": {"early": 2 * logits}, "features": {}}, {"mean": images.mean()[None]}


def method_of(settings=SETTINGS, ohem=False):
    network = Linear()
    return RealAndPseudo(
        settings, Parts(network, HeadLosses(cross_entropy, ohem, 0.7, 1 / 16, 0.4), None, num_classes=3)
    )


def crops_of(seed, count, view):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (count, 4, 4)).astype(np.uint8)
    labels[0, 0] = 255
    images = rng.normal(0, 2, (count, 4, 4, 3)).astype(np.float32)
    return Crops({view: jnp.asarray(images)}, jnp.asarray(labels), jax.random.split(jax.random.key(seed), count))


def objective_of(method, crops):
    params, stats = method.trained()
    state = TrainState(jnp.int32(0), params, stats, (), {})
    return method.objective(params, state, crops, jax.random.key(0))


def numpys(crops, view, kernel, factor=1.0):
    """Mean cross-entropy over the pixels that have a label."""
    logits = factor * np.asarray(crops.images[view], np.float64) @ np.asarray(kernel, np.float64)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    labels = np.asarray(crops.labels)
    valid = labels != 255
    return -np.log(np.take_along_axis(p, np.where(valid, labels, 0)[..., None], -1)[..., 0])[valid].mean()


def test_objective_is_the_one_that_numpy_computes():
    method = method_of(dataclasses.replace(SETTINGS, real_parts=1, pseudo_parts=2, cutmix=0.0))
    crops = {REAL: crops_of(1, 2, WEAK), PSEUDO: crops_of(2, 4, STRONG)}
    found = objective_of(method, crops)
    kernel = method.parts.network.params["kernel"]
    expected = {
        "main": (numpys(crops[REAL], WEAK, kernel), 0.5),
        "early": (numpys(crops[REAL], WEAK, kernel, 2), 0.5 * 0.4),
        "pseudo_main": (numpys(crops[PSEUDO], STRONG, kernel), 0.25),
        "pseudo_early": (numpys(crops[PSEUDO], STRONG, kernel, 2), 0.25 * 0.4),
    }
    assert list(found.losses) == list(expected)
    for name, (mean, weight) in expected.items():
        np.testing.assert_allclose(found.losses[name].mean, mean, rtol=1e-5, err_msg=name)
        assert found.losses[name].weight == pytest.approx(weight), name
    np.testing.assert_allclose(total(found.losses), sum(m * w for m, w in expected.values()), rtol=1e-5)
    seen = np.concatenate([np.ravel(crops[REAL].images[WEAK]), np.ravel(crops[PSEUDO].images[STRONG])])
    np.testing.assert_allclose(found.batch_stats["mean"], seen.mean(), atol=1e-6, err_msg="one pass over both kinds")
    assert found.metrics["kept"] == found.metrics["pseudo_kept"] == 1
    np.testing.assert_allclose(found.metrics["pseudo_labelled"], 1 - 4 / 64)


def test_soft_pseudo_labels_are_learned_as_such():
    """All of the probability is another class's, so the loss is that of this class as the label."""
    method = method_of(dataclasses.replace(SETTINGS, cutmix=0.0))
    crops = {REAL: crops_of(1, 2, WEAK), PSEUDO: crops_of(2, 2, STRONG)}
    labels = crops[PSEUDO].labels
    other = jnp.where(labels == 255, labels, (labels + 1) % 3)
    soft = jnp.stack([other, jnp.where(labels == 255, 0, 255).astype(jnp.uint8)], -1)
    found = objective_of(method, crops | {PSEUDO: dataclasses.replace(crops[PSEUDO], soft=soft)}).losses
    hard = objective_of(method, crops | {PSEUDO: dataclasses.replace(crops[PSEUDO], labels=other)}).losses
    for name in hard:
        np.testing.assert_allclose(found[name].mean, hard[name].mean, rtol=1e-5, err_msg=name)


def test_hard_pixels_are_mined_among_the_labels_that_ask_for_it():
    crops = {REAL: crops_of(1, 2, WEAK), PSEUDO: crops_of(2, 2, STRONG)}
    for real, pseudo in ((True, False), (False, True), (False, False)):
        settings = dataclasses.replace(SETTINGS, real_ohem=real, pseudo_ohem=pseudo, cutmix=0.0)
        metrics = objective_of(method_of(settings, ohem=True), crops).metrics
        assert (metrics["kept"] < 1) == real and (metrics["pseudo_kept"] < 1) == pseudo


def test_strong_crops_are_mixed_within_their_kind_and_weak_ones_are_not():
    crops = {REAL: crops_of(1, 4, WEAK), PSEUDO: crops_of(2, 4, STRONG)}
    plain = objective_of(method_of(dataclasses.replace(SETTINGS, cutmix=0.0)), crops).losses
    mixed = objective_of(method_of(dataclasses.replace(SETTINGS, cutmix=1.0)), crops).losses
    np.testing.assert_allclose(mixed["main"].sum, plain["main"].sum, rtol=1e-6)
    assert abs(mixed["pseudo_main"].sum - plain["pseudo_main"].sum) > 1e-3


def test_classes_of_real_crops_are_pasted_into_pseudo_labelled_ones():
    settings = dataclasses.replace(SETTINGS, cutmix=0.0, classmix=1.0)
    assert [s.views for s in RealAndPseudo.streams_of(settings)] == [(WEAK, STRONG), (STRONG,)]
    real, pseudo = crops_of(1, 4, WEAK), crops_of(2, 4, STRONG)
    real = dataclasses.replace(real, images={WEAK: real.images[WEAK], STRONG: real.images[WEAK] + 1})
    kernel = method_of().parts.network.params["kernel"]
    found = objective_of(method_of(settings), {REAL: real, PSEUDO: pseudo}).losses
    np.testing.assert_allclose(found["main"].mean, numpys(real, WEAK, kernel), rtol=1e-5)
    mixed = classmix(real, pseudo, 1.0)
    np.testing.assert_allclose(found["pseudo_main"].mean, numpys(mixed, STRONG, kernel), rtol=1e-5)
    assert not np.array_equal(mixed.labels, pseudo.labels)
    boxes = objective_of(method_of(dataclasses.replace(settings, cutmix=1.0)), {REAL: real, PSEUDO: pseudo}).losses
    assert float(boxes["main"].mean) == float(found["main"].mean), "real crops are learned in the weak view, unmixed"
    assert float(boxes["pseudo_main"].mean) != float(found["pseudo_main"].mean)


def test_streams_follow_the_settings():
    def streams(**changes):
        return RealAndPseudo.streams_of(dataclasses.replace(SETTINGS, **changes))

    assert [(s.name, s.views, s.parts) for s in streams(pseudo_parts=3)] == [
        (REAL, (WEAK,), 1),
        (PSEUDO, (STRONG,), 3),
    ]
    assert [s.name for s in streams(pseudo_parts=0)] == [REAL]
    assert [s.views for s in streams(pseudo_parts=0, real_view=STRONG)] == [(STRONG,)]


def batch_of(step, count=16, crop_px=32):
    real, pseudo = (sample_batch(seed, crop_px, count // 2)["labelled"] for seed in (step, 1000 + step))
    return {REAL: real, PSEUDO: pseudo, STEP: {"seed": np.uint32(3), "learning_rate": np.float32(0.1)}}


def trained(steps, devices=1, spatial=1, **options):
    recipe = toy_recipe(devices, spatial, jitter=0.0, blur=0.0, **options)
    recipe = dataclasses.replace(recipe, method=toy_method(toy_network(), RealAndPseudo, SETTINGS))
    program = step_program(recipe, PHASE)
    step = program.lower().compile()
    own = jax.tree.map(jnp.copy, recipe.initial_state(*recipe.method.trained()))
    state, metrics = jax.device_put(own, program.in_shardings[0]), []
    for i in range(steps):
        state, found = step(state, jax.device_put(batch_of(i), program.in_shardings[1]))
        metrics.append({name: float(value) for name, value in found.items()})
    return state, metrics


@pytest.mark.slow
def test_it_learns_both_kinds():
    _, metrics = trained(40)
    for name in ("loss_main", "loss_pseudo_main"):
        assert metrics[-1][name] < 0.7 * metrics[0][name], name


@pytest.mark.slow
@pytest.mark.parametrize("devices,spatial,options", [(8, 1, {}), (8, 2, {}), (8, 8, {}), (4, 1, {"split_state": True})])
def test_every_mesh_takes_the_same_steps(devices, spatial, options):
    expected, metrics = trained(3)
    state, found = trained(3, devices, spatial, **options)
    for ours, theirs in zip(found, metrics, strict=True):
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4), ours, theirs)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, jax.device_get(state), jax.device_get(expected))


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"real_parts": 0, "pseudo_parts": 0}, "one of them above 0"),
        ({"pseudo_view": "stronger"}, "pseudo_view is 'stronger'; give weak or strong"),
        ({"pseudo_weight": -1.0}, r"pseudo_weight is -1\.0"),
        ({"pseudo_parts": 0, "classmix": 0.5}, "no crops of pseudo labels to mix; set classmix to 0"),
        ({"cutmix": 1.5}, r"cutmix is 1\.5"),
        ({"cutout": -0.1}, r"cutout is -0\.1"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(CsstError, match=message):
        dataclasses.replace(SETTINGS, **changes)
