"""Networks of the zoo at a small fraction of their size, with values, crops and a first training step."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from configs import base
from csst_jax import build
from csst_jax.models import zoo
from csst_jax.models.ops import convolution
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.settings import resolve
from csst_jax.settings.run import Mesh
from csst_jax.streams import STEP
from csst_jax.train.sharding import make_mesh
from csst_jax.train.step import step_program
from csst_jax.types import Phase

NUM_CLASSES = 4
CROP = 33
# Eight devices have whole rows of it and of its half; at a quarter, or at a sixteenth for two devices, they have not.
SHARED_CROP = 48
# ICNet's coarsest features are a 128th of the crop: of few pixels, statistics lose digits.
SHARED_CROPS = {"icnet_resnet50": 128}
# What ResNet50 stands for at this depth, with its name.
DEEPER = {name: shorter for name in zoo.NETWORKS if (shorter := f"{name.removesuffix('101')}50") in zoo.NETWORKS}
# FPN and U-Net on trunks that other networks have: shown once on a ResNet and once on an EfficientNet. DPT's trunks
# differ in their numbers of heads and blocks: shown on the one with two heads at this width.
IN_PARTS = {
    name
    for name in zoo.NETWORKS
    if name.startswith(("fpn_", "unet_", "dpt_")) and not name.endswith(("resnet18", "efficientnet_lite0", "base"))
}
# Left out where a program is compiled for eight devices: those, and OCR's trunk under FCN's head.
REPEATED = DEEPER.keys() | IN_PARTS | {"fcn_hrnet_w48"}
COLOURS = np.array([(90, 90, 90), (200, 60, 60), (60, 200, 60), (60, 60, 200)])


def options(name, **wanted):
    """Those of the wanted options that the network has."""
    return {option: value for option, value in wanted.items() if zoo.has_option(name, option)}


def recipe(name, devices, spatial=1, dtype="float32"):
    """What `main` trains with the default configuration, of a small network; values are shapes alone."""
    stage = base.get_config().student
    stage.network, stage.dtype = name, dtype
    stage.update(options(name, width=0.125, depth=0.01))
    mesh = make_mesh(jax.devices()[:devices], spatial)
    training = resolve.training(stage, IMAGENET)
    return build.recipe(training, NUM_CLASSES, None, Mesh(-1, spatial, split_state=False), mesh)


def drawn(network, seed=0):
    """The network with values as after a build, drawn by numpy: compiling the initialisation takes seconds."""
    rng = np.random.default_rng(seed)
    # Without batch normalisation nothing holds He's weights down, and training diverges; a third is PyTorch's default.
    gain = 2 if network.batch_stats else 1 / 3

    def value(name, shape):
        if name.endswith("encoding.scale"):
            return -rng.random(shape)
        if len(shape) < 2:
            return np.full(shape, name.endswith(("scale", "var", "gamma")))
        return rng.normal(size=shape) * np.sqrt(gain / np.prod(shape[:-1]))

    params, stats = (
        {name: jnp.asarray(value(name, like.shape), jnp.float32) for name, like in arrays.items()}
        for arrays in (network.params, network.batch_stats)
    )
    return dataclasses.replace(network, params=params, batch_stats=stats)


def batch(size, crop=CROP):
    """Crops of four areas each, whose colours tell their classes; the same crops, flipped and blurred alike, always."""
    rng = np.random.default_rng(0)
    areas = np.stack([rng.permutation(NUM_CLASSES).reshape(2, 2) for _ in range(size)])
    half = -(-crop // 2)
    label = areas.repeat(half, 1).repeat(half, 2)[:, :crop, :crop]
    image = COLOURS[label] + rng.integers(-20, 20, (*label.shape, 3))
    crops = {
        "image": image.astype(np.uint8),
        "label": label.astype(np.uint8),
        "sample": np.stack([np.zeros(size), np.arange(size)], 1).astype(np.int32),
    }
    return {"labelled": crops, STEP: {"seed": np.uint32(0), "learning_rate": np.float32(0.05)}}


_CPU_FORM = convolution._cpu_form


def accelerators_form(*geometry):
    """In place of `convolution._cpu_form`: convolutions as every platform but the CPU gets them."""
    return "grouped" if _CPU_FORM(*geometry) == "grouped" else None


def first_step(name, devices, spatial):
    """A function from a seed of the parameters to (state, metrics) after one step."""
    made = recipe(name, devices, spatial)
    crop = SHARED_CROPS.get(name, SHARED_CROP)
    program = step_program(made, Phase(crop, 8, 1))
    step = program.lower().compile()

    def taken(seed):
        network = drawn(made.method.parts.network, seed)
        state = made.initial_state(network.params, network.batch_stats)
        return jax.device_get(step(*jax.device_put((state, batch(8, crop)), program.in_shardings)))

    return taken


def norm(arrays):
    """Of all arrays as one vector."""
    return math.sqrt(sum(np.sum(np.square(array, dtype=np.float64)) for array in arrays.values()))
