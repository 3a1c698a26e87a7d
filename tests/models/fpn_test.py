"""FPN: sizes on all backbones, shapes, modes; numbers are compared with smp's in tests/parity."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.models import fpn, nnx_io
from csst_jax.models.backbones.pyramid import BACKBONES
from csst_jax.types import CsstError

# Of the blocks of their smaller sisters: for `make test-all`.
SISTERS = ("resnet101", "efficientnet_lite1", "efficientnet_lite2")
EACH_KIND = [pytest.param(name, marks=[pytest.mark.slow] * (name in SISTERS)) for name in BACKBONES]
TINY = {"width": 0.125, "depth": 0.1}


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone,parameters",
    [
        # segmentation_models_pytorch 0.6.0: `FPN(backbone, classes=19)`, counted on the meta device; EfficientNets as
        # "tu-tf_efficientnet_lite0" to 2.
        ("resnet18", 13_049_555),
        ("resnet50", 26_118_355),
        ("resnet101", 45_110_483),
        ("resnext50_32x4d", 25_590_227),
        ("efficientnet_lite0", 4_713_107),
        ("efficientnet_lite1", 5_477_779),
        ("efficientnet_lite2", 6_124_499),
    ],
)
def test_number_of_parameters(backbone, parameters):
    network = nnx_io.abstract(functools.partial(fpn.build, 19, backbone=backbone))
    assert sum(int(np.prod(leaf.shape)) for leaf in network.params.values()) == parameters


@pytest.mark.parametrize("backbone", EACH_KIND)
@pytest.mark.parametrize("size", [pytest.param((64, 96), marks=pytest.mark.slow), (65, 97)])
@pytest.mark.slow
def test_shapes_modes_and_dtypes(backbone, size):
    network = nnx_io.abstract(functools.partial(fpn.build, 5, backbone=backbone, dtype=jnp.bfloat16, **TINY))
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    train, _ = jax.eval_shape(network.apply_train, network.params, network.batch_stats, images, jax.random.key(0))
    for out in (train, jax.eval_shape(network.apply_eval, network.params, network.batch_stats, images)):
        assert out["aux"] == {}
        assert out["logits"].shape == (2, *size, 5) and out["logits"].dtype == jnp.float32
        for name, stride in {"low": 4, "high": 32, "decoder": 4}.items():
            assert out["features"][name].shape[1:3] == tuple(-(-side // stride) for side in size), name
            assert out["features"][name].dtype == jnp.bfloat16


def test_an_unknown_backbone_lists_the_known():
    with pytest.raises(CsstError, match="unknown backbone 'vgg16' of a feature pyramid; known are: resnet18, resnet50"):
        nnx_io.abstract(functools.partial(fpn.build, 5, backbone="vgg16"))
