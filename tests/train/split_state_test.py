"""Parameters and optimizer state split over `data`: the same training in less memory a device."""

import dataclasses
import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.methods.freematch import FreeMatch
from csst_jax.methods.supervised import Supervised
from csst_jax.models import nnx_io, zoo
from csst_jax.streams import STEP
from csst_jax.train import loop
from csst_jax.train.step import step_program
from csst_jax.types import Phase

PHASE = Phase(crop_px=16, global_batch=8, steps=1)
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)


def compiled(recipe):
    program = step_program(recipe, PHASE)
    return program, program.lower().compile()


def held(state):
    """Bytes of parameters and optimizer state on the first device."""
    return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves((state.params, state.opt_state)))


@pytest.mark.slow
@pytest.mark.essential("a state that devices share")
def test_a_split_state_takes_the_same_steps_in_less_memory(make_recipe, make_batch):
    states, sizes = {}, {}
    for split in (False, True):
        recipe = make_recipe(8, spatial=2, split_state=split)
        program, step = compiled(recipe)
        own = jax.tree.map(jnp.copy, recipe.initial_state(*recipe.method.trained()))  # the step takes its memory
        state = jax.device_put(own, program.in_shardings[0])
        for i in range(2):
            batch = make_batch(i, 16, 8) | {STEP: {"seed": np.uint32(3), "learning_rate": np.float32(0.05)}}
            state, metrics = step(state, jax.device_put(batch, program.in_shardings[1]))
        states[split] = (jax.device_get(state), jax.device_get(metrics))
        sizes[split] = (held(state), step.memory_analysis().argument_size_in_bytes)
    jax.tree.map(close, states[True], states[False])
    whole = 4 * 2 * sum(x.size for x in make_recipe().method.parts.network.params.values())
    assert sizes[False][0] == whole
    # Four devices share all but the biases of the two classifiers, of three classes each.
    assert sizes[True][0] == (whole - 48) / 4 + 48
    assert sizes[False][1] - sizes[True][1] == sizes[False][0] - sizes[True][0]


@pytest.mark.parametrize("kind", [Supervised, FreeMatch])  # the thresholds of the second follow in `after`
def test_no_device_gathers_the_crops_of_the_others(make_recipe, make_method, make_network, kind):
    """Of a split state parameters are gathered, and nothing that grows with the batch."""
    settings = FreeMatch.Settings(0.9, weight=1.0, cutmix=0.5) if kind is FreeMatch else None
    method = make_method(make_network(depthwise=False), kind, settings)
    recipe = dataclasses.replace(make_recipe(4, split_state=True), method=method)
    program = step_program(recipe, Phase(crop_px=16, global_batch=16, steps=1)).lower().compile().as_text()
    gathered = re.findall(r"= \w+\[([\d,]*)\]\S* all-gather", program)
    parameters = {",".join(map(str, x.shape)) for x in recipe.method.parts.network.params.values()}
    assert gathered and set(gathered) <= parameters


def test_the_network_of_137_million_parameters_is_split_to_an_eighth(make_recipe):
    network = nnx_io.abstract(zoo.builder("deeplab_v3_plus_wide_resnet38", 19))
    state = make_recipe(8, network=network, split_state=True).abstract_state()
    arrays = jax.tree.leaves((state.params, state.opt_state))
    whole = sum(x.size for x in arrays)
    assert whole > 2 * 137e6
    assert sum(math.prod(x.sharding.shard_shape(x.shape)) for x in arrays) < 1.001 * whole / 8


@pytest.mark.slow
def test_training_goes_on_from_a_checkpoint_of_another_layout(make_run, tmp_path):
    rates = np.linspace(0.1, 0.01, 6, dtype=np.float32)  # the same, however many of the epochs are trained

    def trained(directory, epochs, split):
        run = make_run("constant", epochs, devices=8, directory=directory, learning_rates=rates)
        run = dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, split_state=split))
        return loop.train(run)[0]

    expected = trained(tmp_path / "whole", 3, split=False)
    trained(tmp_path / "mixed", 1, split=False)
    split = trained(tmp_path / "mixed", 2, split=True)
    mixed = trained(tmp_path / "mixed", 3, split=False)
    assert held(split) < 0.3 * held(mixed)
    jax.tree.map(close, jax.device_get(mixed), jax.device_get(expected))
