"""DeepLabV3: size, shapes, modes, precision and lineages, without computing anything."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import deeplab_v3, nnx_io
from csst_jax.types import CsstError

SMALL = {"width": 0.125, "depth": 0.1, "backbone": "resnet50"}


def abstract(num_classes=5, **options):
    return nnx_io.abstract(functools.partial(deeplab_v3.build, num_classes, **options))


def count(network, without="nothing"):
    return sum(int(np.prod(leaf.shape)) for name, leaf in network.params.items() if not name.startswith(without))


def train(network, size, dtype=jnp.float32):
    images = jax.ShapeDtypeStruct((2, *size, 3), dtype)
    return jax.eval_shape(network.apply_train, network.params, network.batch_stats, images, jax.random.key(0))[0]


def evaluate(network, size):
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    return jax.eval_shape(network.apply_eval, network.params, network.batch_stats, images)


@pytest.mark.slow
# Without and with the auxiliary head. encoding-R101: facts §2.9. The others: counted on the references
# (PyTorch-Encoding at ac74841, mmseg 1.2.2's base config, torchvision 0.28) on PyTorch's meta device.
@pytest.mark.parametrize(
    "lineage,backbone,main,both",
    [
        ("encoding", "resnet101", 58_754_259, 61_118_950),
        ("encoding", "resnet50", 39_762_131, 42_126_822),
        ("gluon", "resnet101", 58_754_259, 61_118_950),
        ("mmseg", "resnet101", 84_740_467, 87_105_158),
        ("mmseg", "resnet50", 65_748_339, 68_113_030),
        ("torchvision", "resnet101", 58_630_483, 60_995_174),
        ("torchvision", "resnet50", 39_638_355, 42_003_046),
    ],
)
def test_number_of_parameters_at_19_classes(lineage, backbone, main, both):
    network = abstract(19, lineage=lineage, backbone=backbone)
    assert count(network) == both
    assert count(network, without="auxlayer.") == main


def test_number_of_parameters_at_21_classes_is_what_torchvision_publishes():
    assert count(abstract(21, lineage="torchvision", backbone="resnet101")) == 60_996_202
    assert count(abstract(21, lineage="torchvision", backbone="resnet50")) == 42_004_074


def test_default_is_encodings_resnet101():
    assert count(abstract(19)) == 61_118_950


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("size", [(32, 32), (65, 97)])
def test_logits_have_the_size_of_the_image_and_features_their_stride(size, output_stride):
    network = abstract(**SMALL, output_stride=output_stride)
    out = train(network, size)
    assert out["logits"].shape == out["aux"]["layer3"].shape == (2, *size, 5)
    assert out["logits"].dtype == out["aux"]["layer3"].dtype == jnp.float32
    strides = {"stem": 2, "layer1": 4, "layer2": 8, "layer3": output_stride, "layer4": output_stride}
    assert set(out["features"]) == {*strides, "aspp"}
    for name, stride in {**strides, "aspp": output_stride}.items():
        assert out["features"][name].shape[1:3] == tuple(-(-side // stride) for side in size), name


def test_the_auxiliary_head_runs_in_training_only_and_can_be_left_out():
    network = abstract(**SMALL)
    assert any(name.startswith("auxlayer.") for name in network.params)
    assert set(train(network, (33, 33))["aux"]) == {"layer3"}
    assert evaluate(network, (33, 33))["aux"] == {}
    bare = abstract(**SMALL, aux=False)
    assert set(bare.params) == {name for name in network.params if not name.startswith("auxlayer.")}
    assert train(bare, (33, 33))["aux"] == {}


@pytest.mark.parametrize("lineage", deeplab_v3.LINEAGES)
def test_every_lineage_runs_and_computes_in_bfloat16_with_float32_parameters_and_logits(lineage):
    network = abstract(**SMALL, lineage=lineage, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in network.params.values()} == {jnp.dtype(jnp.float32)}
    for out in (train(network, (65, 97)), evaluate(network, (65, 97))):
        assert out["logits"].shape == (2, 65, 97, 5)
        assert {leaf.dtype for leaf in jax.tree.leaves((out["logits"], out["aux"]))} == {jnp.dtype(jnp.float32)}
        assert {leaf.dtype for leaf in out["features"].values()} == {jnp.dtype(jnp.bfloat16)}


def module(**options):
    return nnx.eval_shape(lambda: deeplab_v3.build(2, rngs=nnx.Rngs(0), **SMALL, **options))


@pytest.mark.parametrize("output_stride,rates", [(8, [12, 24, 36]), (16, [6, 12, 18])])
def test_rates_go_with_the_output_stride(output_stride, rates):
    network = module(output_stride=output_stride)
    assert [conv.conv.dilation for conv in network.aspp.convs] == [1, *rates]
    first = [getattr(network.backbone, layer)[0].conv2.dilation for layer in ("layer3", "layer4")]
    assert first == ([1, 2] if output_stride == 8 else [1, 1])


def test_what_the_lineages_change_around_the_pyramid():
    encoding, mmseg, torchvision = (module(lineage=lineage) for lineage in ("encoding", "mmseg", "torchvision"))
    assert not encoding.aspp.pool_first and mmseg.aspp.pool_first
    assert [len(network.block.convs) for network in (encoding, mmseg, torchvision)] == [1, 0, 1]
    assert mmseg.aspp.dropout is None and torchvision.block.dropout is None
    assert mmseg.aspp.project.conv.kernel.shape[:2] == (3, 3)
    assert [network.align_corners for network in (encoding, mmseg, torchvision)] == [True, False, False]


def test_unknown_names_are_errors_that_list_the_known():
    with pytest.raises(CsstError, match="encoding, gluon, mmseg, torchvision"):
        abstract(lineage="caffe")
    with pytest.raises(CsstError, match="resnet50, resnet101"):
        abstract(backbone="resnet99")
