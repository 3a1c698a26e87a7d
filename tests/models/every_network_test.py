"""Every network through the real training step: it learns, is stored and restored, and devices share it.

At a small fraction of their size: the narrowest channels there are, one block a stage, 33 px. ResNet50 and ResNet101
are the same network then: the first test says so, and what holds for one is shown once.
"""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import nnx_io, zoo
from csst_jax.models.ops import convolution
from csst_jax.train.checkpoint import Checkpoints
from csst_jax.train.sharding import replicated
from csst_jax.train.step import step_program
from csst_jax.train_state import abstract_state
from csst_jax.types import Phase
from tests import sharding
from tests.models import small_networks
from tests.models.small_networks import CROP, DEEPER, IN_PARTS, NUM_CLASSES, REPEATED, batch, drawn, recipe


def one(capability, names):
    """The names in the zoo's order; FastSCNN's test is among those that `make test` runs."""
    marks = {"fast_scnn": pytest.mark.essential(f"a network: {capability}")}
    return [pytest.param(name, marks=marks.get(name, ())) for name in zoo.NETWORKS if name in names]


def jaxpr(network):
    """What the network computes in training mode, as text."""
    images, key = jax.ShapeDtypeStruct((2, CROP, CROP, 3), jnp.float32), jax.eval_shape(lambda: jax.random.key(0))
    return str(jax.make_jaxpr(network.apply_train)(network.params, network.batch_stats, images, key))


@pytest.mark.slow
@pytest.mark.parametrize("name", DEEPER)
def test_a_deeper_trunk_is_the_same_network_at_this_depth(name):
    deeper, network = (recipe(which, devices=1).method.parts.network for which in (name, DEEPER[name]))
    assert (deeper.params, deeper.batch_stats) == (network.params, network.batch_stats)
    assert jaxpr(deeper) == jaxpr(network)


@pytest.mark.slow
@pytest.mark.parametrize("name", one("learns, is stored and restored", zoo.NETWORKS.keys() - DEEPER.keys() - IN_PARTS))
def test_overfits_one_batch_and_goes_on_from_a_checkpoint(name, tmp_path):
    made = recipe(name, devices=1)
    step = step_program(made, Phase(CROP, 4, 1)).lower().compile()
    crops = batch(4)
    network = drawn(made.method.parts.network)
    state = made.initial_state(network.params, network.batch_stats)
    losses = []
    learnt = False
    while not learnt and len(losses) < 40:  # with batch normalisation over four small crops, the loss may jump
        state, metrics = step(state, crops)
        losses.append(float(metrics["loss"]))
        learnt = np.mean(losses[-3:]) < 0.6 * losses[0]
    assert learnt, losses

    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(state)
    restored = checkpoints.restore_newest(abstract_state(state, replicated(made.mesh)))
    checkpoints.close()
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    assert any(np.any(leaf) for leaf in jax.tree.leaves(restored.opt_state)), "momentum has moved"
    assert float(step(restored, crops)[1]["loss"]) == float(step(state, crops)[1]["loss"])


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_features_are_documented_by_name(name):
    options = small_networks.options(name, width=0.125, depth=0.01)
    network = nnx_io.abstract(zoo.builder(name, NUM_CLASSES, **options))
    images = jax.ShapeDtypeStruct((1, CROP, CROP, 3), jnp.float32)
    features = jax.eval_shape(network.apply_eval, network.params, network.batch_stats, images)["features"]
    module = nnx.eval_shape(lambda: zoo.builder(name, NUM_CLASSES, **options)(rngs=nnx.Rngs(0)))
    assert features and all(f'"{feature}"' in type(module).__call__.__doc__ for feature in features)


@pytest.fixture
def forms_of_accelerators(monkeypatch):
    """Convolutions as every platform but the CPU gets them (`csst_jax/models/ops/convolution.py`)."""
    monkeypatch.setattr(convolution, "_cpu_form", small_networks.accelerators_form)


@pytest.mark.slow
@pytest.mark.usefixtures("forms_of_accelerators")
@pytest.mark.parametrize("name", one("devices exchange sums alone", zoo.NETWORKS.keys() - REPEATED))
def test_step_in_bfloat16_on_eight_devices_gathers_nothing(name):
    """A batch that is split over devices stays split: they exchange sums alone, none larger than a parameter."""
    made = recipe(name, devices=8, dtype="bfloat16")
    text = step_program(made, Phase(CROP, 8, 1)).lower().compile().as_text()
    assert re.search(r"bf16\[1,\d+,\d+,\d+\]", text), "one image a device"
    assert not re.findall(r".*= .* (?:all-gather|all-to-all|collective-permute)(?:-start)?\(.*", text)
    shapes = re.findall(r"\[([\d,]*)\]", " ".join(re.findall(r"= (.*?) all-reduce(?:-start)?\(", text)))
    sums = [math.prod(map(int, filter(None, shape.split(",")))) for shape in shapes]
    assert sums and max(sums) <= max(like.size for like in made.method.parts.network.params.values())


# Each takes a minute; `python -m tests.sharding` compares them all.
SHARED = ("bisenet_resnet18", "fast_scnn")


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARED)
def test_eight_devices_take_the_step_of_one(name):
    """Loss, statistics and gradient, over (data, spatial) of (8, 1), (4, 2) and (1, 8), to 1e-5.

    A ReLU whose input is zero but for rounding lets the gradient through on one side and not on the other (ResNeXt's
    did, with the first seed at (1, 8)): so there is a second seed, as a wrong program would be wrong with every one.
    """
    found = list(sharding.compared(name))
    assert len(found) == len(sharding.SPATIAL) * len(sharding.SEEDS), found
    for difference in found:
        assert max(difference["metrics"], difference["statistics"]) < 1e-5, difference
    for spatial in sharding.SPATIAL:
        assert min(d["gradient"] for d in found if d["spatial"] == spatial) < 1e-5, found
