"""BiSeNet: size, shapes, modes and precision by lineage; numbers were compared with TorchSeg's and mmseg's modules."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.models import bisenet, nnx_io
from tests.models.traced import evaluate, train


@functools.cache
def abstract(classes=5, **options):
    return nnx_io.abstract(functools.partial(bisenet.build, classes, **options))


def count(arrays):
    return sum(int(np.prod(leaf.shape)) for leaf in arrays.values())


@pytest.mark.slow
# Counted on the modules that their own code builds: TorchSeg's `cityscapes.bisenet.R18` and `.R101`, mmseg 1.2.2's
# `bisenetv1_r18-d32` and `bisenetv1_r50-d32`.
@pytest.mark.parametrize(
    "options,without,with_aux",
    [
        ({}, 12_894_163, 13_494_777),
        ({"backbone": "resnet101"}, 47_638_803, 48_239_417),
        ({"lineage": "mmseg"}, 13_275_539, 13_425_721),
        ({"lineage": "mmseg", "backbone": "resnet50"}, 56_873_299, 59_243_385),
    ],
)
def test_number_of_parameters_at_19_classes(options, without, with_aux):
    network = abstract(19, **options)
    assert count(network.params) == with_aux
    assert count(abstract(19, aux=False, **options).params) == without
    assert {leaf.dtype for leaf in network.params.values()} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("lineage", bisenet.LINEAGES)
@pytest.mark.parametrize("size", [pytest.param((64, 32), marks=pytest.mark.slow), (65, 97)])
@pytest.mark.slow
def test_logits_have_the_size_of_the_image_and_features_their_stride(lineage, size):
    network = abstract(lineage=lineage, width=0.25)
    out = train(network, size)
    assert set(out["aux"]) == {"stride16", "stride8"}
    for logits in (out["logits"], *out["aux"].values()):
        assert logits.shape == (2, *size, 5) and logits.dtype == jnp.float32
    strides = {"spatial": 8, "stride32": 32, "stride16": 16, "stride8": 8, "fused": 8}
    assert {name: feature.shape[1:3] for name, feature in out["features"].items()} == {
        name: tuple(-(-side // stride) for side in size) for name, stride in strides.items()
    }
    for network_ in (network, abstract(lineage=lineage, width=0.25, aux=False)):
        quiet = evaluate(network_, size)
        assert quiet["aux"] == {} and quiet["logits"].shape == (2, *size, 5)
    assert train(network_, size)["aux"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("lineage", bisenet.LINEAGES)
def test_bfloat16_computes_inside_alone(lineage):
    network = abstract(lineage=lineage, width=0.25, dtype=jnp.bfloat16)
    out = train(network, (33, 64))
    assert {feature.dtype for feature in out["features"].values()} == {jnp.dtype(jnp.bfloat16)}
    assert {x.dtype for x in (out["logits"], *out["aux"].values(), *network.params.values())} == {
        jnp.dtype(jnp.float32)
    }


def test_depth_and_width_shrink_the_trunk():
    shallow = abstract(backbone="resnet50", depth=0.3, width=0.25)
    assert not any(name.startswith("context_path.layer3.2") for name in shallow.params)
    assert shallow.params["context_path.layer4.0.conv2.kernel"].shape == (3, 3, 128, 128)


@pytest.mark.parametrize("old", range(1, 8))
@pytest.mark.parametrize("shorter", [0, 1])
def test_repeated_pixels_are_the_nearest_ones_of_pytorch(old, shorter):
    new = 2 * old - shorter
    x = jnp.arange(float(old)).reshape(1, old, 1, 1)
    y = bisenet._repeat_pixels(jnp.broadcast_to(x, (1, old, 3, 1)), (new, 5))
    assert y.shape == (1, new, 5, 1)
    np.testing.assert_array_equal(y[0, :, 4, 0], np.arange(new) * old // new)
