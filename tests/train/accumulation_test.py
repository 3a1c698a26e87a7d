"""Gradient accumulation: a step of micro-batches, against a plain loop over them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.losses import heads
from csst_jax.models.nnx_io import Network
from csst_jax.streams import LABELLED, STEP, WEAK
from csst_jax.train.step import step_program
from csst_jax.types import IGNORE_LABEL, Phase

CROP, BATCH = 16, 8


@pytest.fixture
def batch(make_batch):
    """Crops of which some have far fewer valid pixels than others."""
    crops = make_batch(0, CROP, BATCH)
    for position in (0, 3, 5):
        crops["labelled"]["label"][position, : 2 + 2 * position] = IGNORE_LABEL
    return crops | {STEP: {"seed": np.uint32(3), "learning_rate": np.float32(0.05)}}


def taken(recipe, batch):
    """State and metrics after one step, and the text of its program."""
    program = step_program(recipe, Phase(CROP, BATCH, 1))
    compiled = program.lower().compile()
    own = jax.tree.map(jnp.copy, recipe.initial_state(*recipe.method.trained()))  # the step takes its memory
    state = jax.device_put(own, program.in_shardings[0])
    return *compiled(state, jax.device_put(batch, program.in_shardings[1])), compiled.as_text()


def gradient(state, recipe):
    """What the first step's momentum holds, without the decay."""
    return {name: v - 1e-4 * recipe.method.parts.network.params[name] for name, v in state.opt_state[1].trace.items()}


def looped(recipe, batch):
    """Running statistics, gradient and metrics of a loop over crops m, m + a, m + 2a, …, by the definition."""
    count, network = recipe.accumulate, recipe.method.parts.network
    photometry, dropout = jax.random.split(jax.random.key(batch[STEP]["seed"]))
    keys = jax.random.split(jax.random.fold_in(dropout, 0), count)

    def loss(params, stats, key, images, labels):
        outputs, stats = network.apply_train(params, stats, images, key)
        losses = recipe.method.parts.loss(outputs, labels)
        means = {f"loss_{name}": loss.mean for name, loss in losses.items()}
        return heads.total(losses), (means, losses["main"].count, stats)

    @jax.jit
    def of_part(stats, key, image, label, sample):
        crops = recipe.augmentation(LABELLED, {"image": image, "label": label, "sample": sample}, photometry)
        return jax.value_and_grad(loss, has_aux=True)(network.params, stats, key, crops.images[WEAK], crops.labels)

    stats, found = network.batch_stats, []
    for m in range(count):
        image, label, sample = (batch["labelled"][name][m::count] for name in ("image", "label", "sample"))
        (total, (means, count_kept, stats)), slope = of_part(stats, keys[m], image, label, sample)
        valid = np.sum(label != IGNORE_LABEL)
        found.append((valid, slope, means | {"loss": total, "kept": count_kept / valid}))
    pixels = sum(valid for valid, *_ in found)
    assert len({int(valid) for valid, *_ in found}) > 1, "equal weights: this test sees no other mean"
    weighted = [jax.tree.map(lambda x, share=valid / pixels: share * x, tree) for valid, *tree in found]
    return stats, *functools.reduce(lambda one, other: jax.tree.map(jnp.add, one, other), weighted)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_micro_batches_are_a_plain_loops(make_recipe, batch, devices):
    recipe = make_recipe(devices, accumulate=4)
    state, metrics, _ = taken(recipe, batch)
    stats, slope, means = looped(recipe, batch)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, gradient(state, recipe), slope)
    jax.tree.map(close, state.batch_stats, stats)
    norm = metrics.pop("gradient_norm")
    assert metrics.pop("skipped") == 0
    jax.tree.map(close, metrics, means)
    close(norm, np.sqrt(sum(np.sum(np.square(x)) for x in slope.values())))


class Linear(Network):
    """Pixel by pixel and without batch statistics: micro-batches can make no difference."""

    def __init__(self):
        kernel = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
        super().__init__(None, None, None, {"kernel": jnp.asarray(kernel)}, {})

    def apply_train(self, params, batch_stats, images, key):
        del key
        return {"logits": images @ params["kernel"], "aux": {}}, batch_stats


def test_without_ohem_and_batch_statistics_the_step_is_the_whole_batchs(make_recipe, make_method, batch):
    recipe = dataclasses.replace(make_recipe(1, network=Linear()), method=make_method(Linear(), ohem=False))
    at_once, metrics, _ = taken(recipe, batch)
    parted, parted_metrics, _ = taken(dataclasses.replace(recipe, accumulate=4), batch)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)
    jax.tree.map(close, parted.opt_state, at_once.opt_state)
    jax.tree.map(close, parted_metrics, metrics)


def test_only_ignored_pixels_give_a_finite_step(make_recipe, batch):
    batch["labelled"]["label"][:] = IGNORE_LABEL
    state, metrics, _ = taken(make_recipe(1, network=Linear(), accumulate=2), batch)
    assert float(metrics["loss"]) == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


@pytest.mark.slow
def test_crops_stay_on_their_devices(make_recipe, batch):
    *_, text = taken(make_recipe(4, accumulate=2), batch)
    assert "all-reduce" in text
    assert not {"all-gather", "all-to-all", "collective-permute"} & set(text.replace("(", " ").split())
