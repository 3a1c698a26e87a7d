"""PSPNet: size, shapes, modes, precision and lineages, without computing anything."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import nnx_io, pspnet
from csst_jax.types import CsstError

SMALL = {"width": 0.125, "depth": 0.1, "backbone": "resnet50"}


def abstract(num_classes=5, **options):
    return nnx_io.abstract(functools.partial(pspnet.build, num_classes, **options))


def count(network, without="nothing"):
    return sum(int(np.prod(leaf.shape)) for name, leaf in network.params.items() if not name.startswith(without))


def train(network, size, dtype=jnp.float32):
    images = jax.ShapeDtypeStruct((2, *size, 3), dtype)
    return jax.eval_shape(network.apply_train, network.params, network.batch_stats, images, jax.random.key(0))[0]


def evaluate(network, size):
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    return jax.eval_shape(network.apply_eval, network.params, network.batch_stats, images)


@pytest.mark.slow
# Without and with the auxiliary head. semseg: facts §2.3. The others: counted on the references (mmseg 1.2.2's base
# config, smp 0.6.0) on PyTorch's meta device; smp's without layer3 and layer4, which it holds and does not use.
@pytest.mark.parametrize(
    "lineage,backbone,main,both",
    [
        ("semseg", "resnet101", 65_707_475, 68_072_166),
        ("semseg", "resnet50", 46_715_347, 49_080_038),
        ("gluon", "resnet101", 65_707_475, 68_072_166),
        ("mmseg", "resnet101", 65_602_931, 67_967_622),
        ("mmseg", "resnet50", 46_610_803, 48_975_494),
        ("smp", "resnet50", 2_320_851, 2_320_851),
    ],
)
def test_number_of_parameters_at_19_classes(lineage, backbone, main, both):
    network = abstract(19, lineage=lineage, backbone=backbone)
    assert count(network) == both
    assert count(network, without="aux.") == main


def test_the_paper_trains_semsegs_resnet101():
    assert count(abstract(19)) == 68_072_166


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("size", [(32, 32), (65, 97)])
def test_logits_have_the_size_of_the_image_and_features_their_stride(size, output_stride):
    network = abstract(**SMALL, output_stride=output_stride)
    out = train(network, size)
    assert out["logits"].shape == out["aux"]["layer3"].shape == (2, *size, 5)
    assert out["logits"].dtype == out["aux"]["layer3"].dtype == jnp.float32
    strides = {"stem": 2, "layer1": 4, "layer2": 8, "layer3": output_stride, "layer4": output_stride}
    assert set(out["features"]) == {*strides, "ppm"}
    for name, stride in {**strides, "ppm": output_stride}.items():
        assert out["features"][name].shape[1:3] == tuple(-(-side // stride) for side in size), name


def test_the_auxiliary_head_runs_in_training_only_and_can_be_left_out():
    network = abstract(**SMALL)
    assert any(name.startswith("aux.") for name in network.params)
    assert set(train(network, (33, 33))["aux"]) == {"layer3"}
    assert evaluate(network, (33, 33))["aux"] == {}
    bare = abstract(**SMALL, aux=False)
    assert set(bare.params) == {name for name in network.params if not name.startswith("aux.")}
    assert train(bare, (33, 33))["aux"] == {}


@pytest.mark.parametrize("lineage", pspnet.LINEAGES)
def test_every_lineage_runs_and_computes_in_bfloat16_with_float32_parameters_and_logits(lineage):
    network = abstract(**SMALL, lineage=lineage, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in network.params.values()} == {jnp.dtype(jnp.float32)}
    for out in (train(network, (65, 97)), evaluate(network, (65, 97))):
        assert out["logits"].shape == (2, 65, 97, 5)
        assert {leaf.dtype for leaf in jax.tree.leaves((out["logits"], out["aux"]))} == {jnp.dtype(jnp.float32)}
        assert {leaf.dtype for leaf in out["features"].values()} == {jnp.dtype(jnp.bfloat16)}


def test_smp_ends_after_layer2():
    network = abstract(**SMALL, lineage="smp")
    assert not any(".layer3." in name or ".layer4." in name or name.startswith("aux") for name in network.params)
    out = train(network, (64, 96))
    assert set(out["features"]) == {"stem", "layer1", "layer2", "ppm"} and out["aux"] == {}
    assert out["features"]["ppm"].shape[1:3] == (8, 12)
    with pytest.raises(CsstError, match="output_stride=16"):
        abstract(**SMALL, lineage="smp", output_stride=16)


def test_dilation_of_the_first_blocks_follows_the_lineage():
    def first_dilations(lineage):
        network = nnx.eval_shape(lambda: pspnet.build(2, rngs=nnx.Rngs(0), lineage=lineage, **SMALL))
        return [getattr(network.backbone, layer)[0].conv2.dilation for layer in ("layer3", "layer4")]

    assert first_dilations("semseg") == [2, 4]
    assert first_dilations("mmseg") == [1, 2]


def test_unknown_names_are_errors_that_list_the_known():
    with pytest.raises(CsstError, match="semseg, gluon, mmseg, smp"):
        abstract(lineage="caffe")
    with pytest.raises(CsstError, match="resnet50, resnet101"):
        abstract(backbone="resnet99")
