"""Output stride 8 computes what 16 does and more between: every second position of its features is 16's.

A stage beyond the output stride keeps its weights: its first block leaves out the stride and, from there on, taps lie
twice as far apart, so that a position reads what it reads in the strided network. That holds exactly where the layer
that leaves its stride out has the dilation of the stage before.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import nnx_io, zoo
from csst_jax.models.backbones.efficientnet_lite import EfficientNetLite0
from csst_jax.models.backbones.wide_resnet import WideResNet38

# Two blocks or more in each stage, one of them without a stride.
SMALL = {"width": 0.125, "depth": 0.67}


class Trunk(nnx.Module):
    """A trunk alone, as a network of features."""

    def __init__(self, build, **options):
        self.trunk = build(**options)

    def __call__(self, images):
        return {"features": self.trunk(images)}


def features(build, names, size):
    """Features in evaluation mode, under weights and statistics that are the same for all of a network's options."""
    network = nnx_io.abstract(build)
    rng = np.random.default_rng(0)

    def value(name, shape):
        drawn = rng.normal(size=shape)
        if name.endswith("kernel"):
            return drawn * np.sqrt(2 / np.prod(shape[:3]))
        return 1 + 0.1 * np.abs(drawn) if name.endswith(("scale", "var")) else 0.1 * drawn

    params, stats = (
        {name: value(name, like.shape).astype(np.float32) for name, like in arrays.items()}
        for arrays in (network.params, network.batch_stats)
    )
    images = rng.normal(size=(1, *size, 3)).astype(np.float32)
    # What is not returned is not computed.
    return jax.jit(lambda *args: {name: network.apply_eval(*args)["features"][name] for name in names})(
        params, stats, images
    )


def worst_difference(fine, coarse, first=0):
    """Largest difference of every second position of `fine` from `coarse`, relative to the largest value."""
    worst = 0.0
    for name, expected in coarse.items():
        actual = fine[name][:, first::2, first::2]
        assert actual.shape == expected.shape, name
        worst = max(worst, float(jnp.max(jnp.abs(actual - expected)) / jnp.max(jnp.abs(expected))))
    return worst


@pytest.mark.slow
@pytest.mark.parametrize(
    "name,lineage,names",
    [
        ("fcn_resnet50", "encoding", ("layer3", "layer4")),
        ("pspnet_resnet50", "gluon", ("layer3", "layer4")),
        ("deeplab_v3_resnet50", "encoding", ("layer3", "layer4")),
        ("deeplab_v3_plus_resnet50", "mmseg", ("high",)),
        ("encnet_resnet50", "encoding", ("layer3", "layer4")),
        # The first convolution of its blocks strides, and it is 1x1: the next one has all of the stage's dilation.
        ("deeplab_v2_resnet101", "crst", ("layer3", "layer4")),
    ],
)
def test_aligned(name, lineage, names):
    options = {**SMALL, "depth": 0.1} if "101" in name else SMALL
    fine, coarse = (
        features(zoo.builder(name, 3, lineage=lineage, output_stride=stride, **options), names, (50, 67))
        for stride in (8, 16)
    )
    assert worst_difference(fine, coarse) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    "name,lineage,names",
    [
        # Their first block of a dilated stage has all of its dilation already, in a 3x3 convolution.
        ("pspnet_resnet50", "semseg", ("layer4",)),
        ("deeplab_v3_plus_resnext50_32x4d", "vplr", ("high",)),
        # The first block's second 3x3 convolution has the dilation of the one that left its stride out.
        ("deeplab_v3_plus_resnet18", "mmseg", ("high",)),
    ],
)
def test_not_aligned_where_the_first_block_reads_other_positions(name, lineage, names):
    fine, coarse = (
        features(zoo.builder(name, 3, lineage=lineage, output_stride=stride, **SMALL), names, (33, 33))
        for stride in (8, 16)
    )
    assert worst_difference(fine, coarse) > 0.01


@pytest.mark.slow
def test_wide_resnet38_is_aligned_beyond_stride_16():
    """Its blocks at stride 8 stride in a 3x3 convolution that is dilated with the others; those beyond, in a 1x1."""
    eight, sixteen, thirty_two = (
        features(functools.partial(Trunk, WideResNet38, output_stride=stride, width=0.125, depth=0.5), names, (50, 67))
        for stride, names in ((8, ("mod5",)), (16, ("mod5", "mod7")), (32, ("mod7",)))
    )
    assert worst_difference({"mod7": sixteen["mod7"]}, thirty_two) < 1e-4
    assert worst_difference(eight, {"mod5": sixteen["mod5"]}) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("size,first", [((33, 49), 0), ((32, 64), 1)])
def test_efficientnet_lite0_is_aligned_on_the_grid_that_its_padding_puts(size, first):
    fine, coarse = (
        features(functools.partial(Trunk, EfficientNetLite0, output_stride=stride, **SMALL), ("stage4", "stage6"), size)
        for stride in (8, 16)
    )
    assert worst_difference(fine, coarse, first) < 1e-4
