"""FCN, PSPNet and DeepLabV3: size, shapes, modes, precision and lineages, without computing anything.

All three are a dilated ResNet (FCN also HRNet) under a head, and an auxiliary head on layer3.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import deeplab_v3, fcn, nnx_io, pspnet
from csst_jax.types import CsstError
from tests.models.traced import evaluate, train

SMALL = {"width": 0.125, "depth": 0.1, "backbone": "resnet50"}
NETWORKS = [fcn, pspnet, deeplab_v3]
AUX = {fcn: "auxlayer.", pspnet: "aux.", deeplab_v3: "auxlayer."}
# Features beside the trunk's.
OWN_FEATURES = {fcn: set(), pspnet: {"ppm"}, deeplab_v3: {"aspp"}}

each_network = pytest.mark.parametrize("module", NETWORKS, ids=lambda module: module.__name__.rpartition(".")[2])


def abstract(module, num_classes=5, **options):
    return nnx_io.abstract(functools.partial(module.build, num_classes, **options))


def built(module, **options):
    return nnx.eval_shape(lambda: module.build(2, rngs=nnx.Rngs(0), **SMALL, **options))


def first_dilations(network):
    return [getattr(network.backbone, layer)[0].conv2.dilation for layer in ("layer3", "layer4")]


def count(network, without="nothing"):
    return sum(int(np.prod(leaf.shape)) for name, leaf in network.params.items() if not name.startswith(without))


@pytest.mark.slow
# Without and with the auxiliary head. The defaults' (fcn on HRNet; semseg; encoding's DeepLabV3-R101): facts §2.3, 2.4
# and 2.9. The others: counted on the references (PyTorch-Encoding at ac74841, mmseg 1.2.2's configs, torchvision 0.28,
# smp 0.6.0) on PyTorch's meta device; smp's without layer3 and layer4, which it holds and does not use.
@pytest.mark.parametrize(
    "module,lineage,backbone,main,both",
    [
        (fcn, "encoding", "resnet101", 52_071_891, 54_436_582),
        (fcn, "encoding", "resnet50", 33_079_763, 35_444_454),
        (fcn, "gluon", "resnet101", 52_071_891, 54_436_582),
        (fcn, "mmseg", "resnet101", 66_125_171, 68_489_862),
        (fcn, "mmseg", "resnet50", 47_133_043, 49_497_734),
        (fcn, "mmseg", "hrnet_w48", 65_858_659, 65_858_659),
        (fcn, "torchvision", "resnet101", 51_948_115, 54_312_806),
        (fcn, "torchvision", "resnet50", 32_955_987, 35_320_678),
        (fcn, "hrnet", "hrnet_w48", 65_859_379, 65_859_379),
        (pspnet, "semseg", "resnet101", 65_707_475, 68_072_166),
        (pspnet, "semseg", "resnet50", 46_715_347, 49_080_038),
        (pspnet, "gluon", "resnet101", 65_707_475, 68_072_166),
        (pspnet, "mmseg", "resnet101", 65_602_931, 67_967_622),
        (pspnet, "mmseg", "resnet50", 46_610_803, 48_975_494),
        (pspnet, "smp", "resnet50", 2_320_851, 2_320_851),
        (deeplab_v3, "encoding", "resnet101", 58_754_259, 61_118_950),
        (deeplab_v3, "encoding", "resnet50", 39_762_131, 42_126_822),
        (deeplab_v3, "gluon", "resnet101", 58_754_259, 61_118_950),
        (deeplab_v3, "mmseg", "resnet101", 84_740_467, 87_105_158),
        (deeplab_v3, "mmseg", "resnet50", 65_748_339, 68_113_030),
        (deeplab_v3, "torchvision", "resnet101", 58_630_483, 60_995_174),
        (deeplab_v3, "torchvision", "resnet50", 39_638_355, 42_003_046),
    ],
)
def test_number_of_parameters_at_19_classes(module, lineage, backbone, main, both):
    network = abstract(module, 19, lineage=lineage, backbone=backbone)
    assert count(network) == both
    assert count(network, without=AUX[module]) == main


@pytest.mark.slow
@pytest.mark.parametrize(
    "module,options,both",
    [
        (fcn, {}, 54_436_582),
        (fcn, {"backbone": "hrnet_w48"}, 65_859_379),
        (pspnet, {}, 68_072_166),  # the paper trains semseg's ResNet101
        (deeplab_v3, {}, 61_118_950),
    ],
)
def test_defaults(module, options, both):
    assert count(abstract(module, 19, **options)) == both


@pytest.mark.slow
@pytest.mark.parametrize(
    "module,backbone,both",
    [
        (fcn, "resnet101", 54_314_346),
        (fcn, "resnet50", 35_322_218),
        (deeplab_v3, "resnet101", 60_996_202),
        (deeplab_v3, "resnet50", 42_004_074),
    ],
)
def test_number_of_parameters_at_21_classes_is_what_torchvision_publishes(module, backbone, both):
    assert count(abstract(module, 21, lineage="torchvision", backbone=backbone)) == both


@each_network
@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("size", [pytest.param((32, 32), marks=pytest.mark.slow), (65, 97)])
@pytest.mark.slow
def test_logits_have_the_size_of_the_image_and_features_their_stride(module, size, output_stride):
    out = train(abstract(module, **SMALL, output_stride=output_stride), size)
    assert out["logits"].shape == out["aux"]["layer3"].shape == (2, *size, 5)
    assert out["logits"].dtype == out["aux"]["layer3"].dtype == jnp.float32
    strides = {"stem": 2, "layer1": 4, "layer2": 8, "layer3": output_stride, "layer4": output_stride}
    strides |= dict.fromkeys(OWN_FEATURES[module], output_stride)
    assert set(out["features"]) == set(strides)
    for name, stride in strides.items():
        assert out["features"][name].shape[1:3] == tuple(-(-side // stride) for side in size), name


@pytest.mark.slow
@each_network
def test_the_auxiliary_head_runs_in_training_only_and_can_be_left_out(module):
    network = abstract(module, **SMALL)
    assert any(name.startswith(AUX[module]) for name in network.params)
    assert set(train(network, (33, 33))["aux"]) == {"layer3"}
    assert evaluate(network, (33, 33))["aux"] == {}
    bare = abstract(module, **SMALL, aux=False)
    assert set(bare.params) == {name for name in network.params if not name.startswith(AUX[module])}
    assert train(bare, (33, 33))["aux"] == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "module,lineage,backbone",
    [
        (module, lineage, backbone)
        for module in NETWORKS
        for lineage, variant in module.LINEAGES.items()
        for backbone in getattr(variant, "backbones", ("resnet50",))
    ],
)
def test_every_lineage_runs_and_computes_in_bfloat16_with_float32_parameters_and_logits(module, lineage, backbone):
    network = abstract(module, **{**SMALL, "backbone": backbone}, lineage=lineage, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in network.params.values()} == {jnp.dtype(jnp.float32)}
    for out in (train(network, (65, 97)), evaluate(network, (65, 97))):
        assert out["logits"].shape == (2, 65, 97, 5)
        assert {leaf.dtype for leaf in jax.tree.leaves((out["logits"], out["aux"]))} == {jnp.dtype(jnp.float32)}
        assert {leaf.dtype for leaf in out["features"].values()} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize(
    "module,options,message",
    [
        (fcn, {"backbone": "hrnet_w48", "output_stride": 8}, "output_stride=8"),
        (pspnet, {**SMALL, "lineage": "smp", "output_stride": 16}, "output_stride=16"),
    ],
)
def test_a_stride_that_a_network_does_not_have_is_an_error(module, options, message):
    with pytest.raises(CsstError, match=message):
        abstract(module, **options)


@pytest.mark.slow
@pytest.mark.parametrize("lineage", ["hrnet", "mmseg"])
def test_fcn_on_hrnet_classifies_its_branches_at_stride_4_without_an_auxiliary_head(lineage):
    network = abstract(fcn, **{**SMALL, "backbone": "hrnet_w48"}, lineage=lineage)
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


def test_mmsegs_fcn_head_has_two_convolutions_and_sees_its_input_again():
    network = built(fcn, lineage="mmseg")
    assert len(network.head.convs) == 2 and network.head.conv_cat is not None
    assert len(network.auxlayer.convs) == 1 and network.auxlayer.conv_cat is None


def test_smps_pspnet_ends_after_layer2():
    network = abstract(pspnet, **SMALL, lineage="smp")
    assert not any(".layer3." in name or ".layer4." in name or name.startswith("aux") for name in network.params)
    out = train(network, (64, 96))
    assert set(out["features"]) == {"stem", "layer1", "layer2", "ppm"} and out["aux"] == {}
    assert out["features"]["ppm"].shape[1:3] == (8, 12)


@pytest.mark.parametrize("lineage,dilations", [("semseg", [2, 4]), ("mmseg", [1, 2])])
def test_dilation_of_pspnets_first_blocks_follows_the_lineage(lineage, dilations):
    assert first_dilations(built(pspnet, lineage=lineage)) == dilations


@pytest.mark.parametrize("output_stride,rates,dilations", [(8, [12, 24, 36], [1, 2]), (16, [6, 12, 18], [1, 1])])
def test_deeplab_v3s_rates_go_with_the_output_stride(output_stride, rates, dilations):
    network = built(deeplab_v3, output_stride=output_stride)
    assert [conv.conv.dilation for conv in network.aspp.convs] == [1, *rates]
    assert first_dilations(network) == dilations


def test_what_the_lineages_change_around_deeplab_v3s_pyramid():
    encoding, mmseg, torchvision = (
        built(deeplab_v3, lineage=lineage) for lineage in ("encoding", "mmseg", "torchvision")
    )
    assert not encoding.aspp.pool_first and mmseg.aspp.pool_first
    assert [len(network.block.convs) for network in (encoding, mmseg, torchvision)] == [1, 0, 1]
    assert mmseg.aspp.dropout is None and torchvision.block.dropout is None
    assert mmseg.aspp.project.conv.kernel.shape[:2] == (3, 3)
    assert [network.align_corners for network in (encoding, mmseg, torchvision)] == [True, False, False]
