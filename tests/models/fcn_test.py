"""FCN: size, shapes, modes, precision and lineages, without computing anything."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import fcn, nnx_io
from csst_jax.types import CsstError

SMALL = {"width": 0.125, "depth": 0.1, "backbone": "resnet50"}


def abstract(num_classes=5, **options):
    return nnx_io.abstract(functools.partial(fcn.build, num_classes, **options))


def count(network, without="nothing"):
    return sum(int(np.prod(leaf.shape)) for name, leaf in network.params.items() if not name.startswith(without))


def train(network, size, dtype=jnp.float32):
    images = jax.ShapeDtypeStruct((2, *size, 3), dtype)
    return jax.eval_shape(network.apply_train, network.params, network.batch_stats, images, jax.random.key(0))[0]


def evaluate(network, size):
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    return jax.eval_shape(network.apply_eval, network.params, network.batch_stats, images)


@pytest.mark.slow
# Without and with the auxiliary head. hrnet: facts §2.4. The others: counted on the references (PyTorch-Encoding at
# ac74841, mmseg 1.2.2's configs, torchvision 0.28) on PyTorch's meta device.
@pytest.mark.parametrize(
    "lineage,backbone,main,both",
    [
        ("encoding", "resnet101", 52_071_891, 54_436_582),
        ("encoding", "resnet50", 33_079_763, 35_444_454),
        ("gluon", "resnet101", 52_071_891, 54_436_582),
        ("mmseg", "resnet101", 66_125_171, 68_489_862),
        ("mmseg", "resnet50", 47_133_043, 49_497_734),
        ("mmseg", "hrnet_w48", 65_858_659, 65_858_659),
        ("torchvision", "resnet101", 51_948_115, 54_312_806),
        ("torchvision", "resnet50", 32_955_987, 35_320_678),
        ("hrnet", "hrnet_w48", 65_859_379, 65_859_379),
    ],
)
def test_number_of_parameters_at_19_classes(lineage, backbone, main, both):
    network = abstract(19, lineage=lineage, backbone=backbone)
    assert count(network) == both
    assert count(network, without="auxlayer.") == main


def test_number_of_parameters_at_21_classes_is_what_torchvision_publishes():
    assert count(abstract(21, lineage="torchvision", backbone="resnet101")) == 54_314_346
    assert count(abstract(21, lineage="torchvision", backbone="resnet50")) == 35_322_218


@pytest.mark.slow
def test_defaults_go_with_the_backbone():
    assert count(abstract(19)) == 54_436_582
    assert count(abstract(19, backbone="hrnet_w48")) == 65_859_379


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("size", [(32, 32), (65, 97)])
def test_logits_have_the_size_of_the_image_and_features_their_stride(size, output_stride):
    network = abstract(**SMALL, output_stride=output_stride)
    out = train(network, size)
    assert out["logits"].shape == out["aux"]["layer3"].shape == (2, *size, 5)
    assert out["logits"].dtype == out["aux"]["layer3"].dtype == jnp.float32
    strides = {"stem": 2, "layer1": 4, "layer2": 8, "layer3": output_stride, "layer4": output_stride}
    assert set(out["features"]) == set(strides)
    for name, stride in strides.items():
        assert out["features"][name].shape[1:3] == tuple(-(-side // stride) for side in size), name


def test_the_auxiliary_head_runs_in_training_only_and_can_be_left_out():
    network = abstract(**SMALL)
    assert any(name.startswith("auxlayer.") for name in network.params)
    assert set(train(network, (33, 33))["aux"]) == {"layer3"}
    assert evaluate(network, (33, 33))["aux"] == {}
    bare = abstract(**SMALL, aux=False)
    assert set(bare.params) == {name for name in network.params if not name.startswith("auxlayer.")}
    assert train(bare, (33, 33))["aux"] == {}


@pytest.mark.parametrize(
    "lineage,backbone", [(name, backbone) for name, how in fcn.LINEAGES.items() for backbone in how.backbones]
)
def test_every_lineage_runs_and_computes_in_bfloat16_with_float32_parameters_and_logits(lineage, backbone):
    network = abstract(**{**SMALL, "backbone": backbone}, lineage=lineage, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in network.params.values()} == {jnp.dtype(jnp.float32)}
    for out in (train(network, (65, 97)), evaluate(network, (65, 97))):
        assert out["logits"].shape == (2, 65, 97, 5)
        assert {leaf.dtype for leaf in jax.tree.leaves((out["logits"], out["aux"]))} == {jnp.dtype(jnp.float32)}
        assert {leaf.dtype for leaf in out["features"].values()} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.slow
@pytest.mark.parametrize("lineage", ["hrnet", "mmseg"])
def test_hrnet_classifies_its_branches_at_stride_4_without_an_auxiliary_head(lineage):
    network = abstract(**{**SMALL, "backbone": "hrnet_w48"}, lineage=lineage)
    assert not any(name.startswith("auxlayer.") for name in network.params)
    assert ("head.convs.0.conv.bias" in network.params) == (lineage == "hrnet")
    out = train(network, (65, 97))
    assert out["aux"] == {} and out["logits"].shape == (2, 65, 97, 5)
    assert {name: value.shape[1:3] for name, value in out["features"].items()} == {
        "stride4": (17, 25),
        "stride8": (9, 13),
        "stride16": (5, 7),
        "stride32": (3, 4),
        "branches": (17, 25),
    }


def test_mmsegs_head_has_two_convolutions_and_sees_its_input_again():
    network = nnx.eval_shape(lambda: fcn.build(2, rngs=nnx.Rngs(0), lineage="mmseg", **SMALL))
    assert len(network.head.convs) == 2 and network.head.conv_cat is not None
    assert len(network.auxlayer.convs) == 1 and network.auxlayer.conv_cat is None


def test_unknown_names_and_pairs_are_errors_that_list_the_known():
    with pytest.raises(CsstError, match="encoding, gluon, hrnet, mmseg, torchvision"):
        abstract(lineage="caffe")
    with pytest.raises(CsstError, match="resnet50, resnet101, hrnet_w48"):
        abstract(backbone="resnet99")
    with pytest.raises(CsstError, match="lineages that do: hrnet, mmseg"):
        abstract(backbone="hrnet_w48", lineage="encoding")
    with pytest.raises(CsstError, match="output_stride=8"):
        abstract(backbone="hrnet_w48", output_stride=8)
