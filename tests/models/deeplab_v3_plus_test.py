"""DeepLabV3+: sizes of all backbones and lineages, shapes, modes, precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import deeplab_v3_plus, nnx_io
from csst_jax.types import CsstError

TINY = {"width": 0.125, "depth": 0.1}
ALL = [(lineage, backbone) for lineage, variant in deeplab_v3_plus.LINEAGES.items() for backbone in variant.backbones]


def count(**options):
    network = nnx_io.abstract(functools.partial(deeplab_v3_plus.build, 19, **options))
    return sum(int(np.prod(leaf.shape)) for leaf in network.params.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone,parameters",
    [
        # Facts §2.1, §2.2.
        ("resnext50_32x4d", 39_822_912),
        ("se_resnext50_32x4d", 42_353_904),
        ("resnet50", 40_351_040),
        ("resnet101", 59_343_168),
        ("wide_resnet38", 137_103_936),
        # The trunk's 2,958,848 and VPLR's head on 320 and 24 channels; no reference has this network.
        ("efficientnet_lite0", 6_962_048),
        ("resnet18", 16_607_040),
    ],
)
def test_number_of_parameters_of_vplrs(backbone, parameters):
    assert count(backbone=backbone) == count(backbone=backbone, aux=False) == parameters


@pytest.mark.slow
@pytest.mark.parametrize(
    "lineage,backbone,parameters,aux",
    [
        # mmseg 1.2.2: `deeplabv3plus_r18-d8`, `r50-d8` and `r101-d8` (19 classes), counted on the meta device.
        ("mmseg", "resnet18", 12_320_143, 148_819),
        ("mmseg", "resnet50", 41_225_187, 2_364_691),
        ("mmseg", "resnet101", 60_217_315, 2_364_691),
        # segmentation_models_pytorch 0.6.0: `DeepLabV3Plus(backbone, classes=19)`, counted on the meta device.
        ("smp", "resnet18", 12_333_923, 0),
        ("smp", "resnet50", 26_682_211, 0),
        ("smp", "resnet101", 45_674_339, 0),
        ("smp", "resnext50_32x4d", 26_154_083, 0),
        ("smp", "se_resnext50_32x4d", 28_685_075, 0),
    ],
)
def test_number_of_parameters_of_others(lineage, backbone, parameters, aux):
    assert count(lineage=lineage, backbone=backbone, aux=False) == parameters
    assert count(lineage=lineage, backbone=backbone) == parameters + aux


@pytest.mark.parametrize(
    "lineage,backbone",
    # Trunks are the same in every lineage: one of the others' is enough for what is their own.
    [
        pytest.param(lineage, backbone, marks=[pytest.mark.slow] * (lineage != "vplr" and backbone != "resnet18"))
        for lineage, backbone in ALL
    ],
)
@pytest.mark.slow
def test_shapes_modes_and_dtypes(lineage, backbone):
    options = {"lineage": lineage, "backbone": backbone, "dtype": jnp.bfloat16, **TINY}
    network = nnx_io.abstract(functools.partial(deeplab_v3_plus.build, 5, **options))
    images = jax.ShapeDtypeStruct((2, 65, 97, 3), jnp.float32)
    train, stats = jax.eval_shape(network.apply_train, network.params, network.batch_stats, images, jax.random.key(0))
    evaluation = jax.eval_shape(network.apply_eval, network.params, network.batch_stats, images)
    if lineage == "mmseg":
        aux = train["aux"].pop("layer3")
        assert aux.shape == (2, 65, 97, 5) and aux.dtype == jnp.float32
    low = (33, 49) if backbone == "wide_resnet38" else (17, 25)
    if backbone == "se_resnext50_32x4d":
        low = (16, 24)  # its maximum pooling has no padding
    halvings = (2 if backbone == "wide_resnet38" else 1) + (lineage == "smp")
    high = tuple(-(-side // 2**halvings) for side in low)
    for out in (train, evaluation):
        assert out["aux"] == {}
        assert out["logits"].shape == (2, 65, 97, 5) and out["logits"].dtype == jnp.float32
        assert {name: leaf.shape[1:3] for name, leaf in out["features"].items()} == {
            "low": low,
            "high": high,
            "decoder": low,
        }
        assert {leaf.dtype for leaf in out["features"].values()} == {jnp.dtype(jnp.bfloat16)}
    assert {leaf.dtype for leaf in network.params.values()} == {jnp.dtype(jnp.float32)}
    assert {n: s.shape for n, s in stats.items()} == {n: s.shape for n, s in network.batch_stats.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "lineage,output_stride,rates",
    [
        ("vplr", 8, [12, 24, 36]),
        ("vplr", 16, [12, 24, 36]),  # VPLR calls its pyramid with stride 8 whatever the backbone's is
        ("mmseg", 16, [6, 12, 18]),
        ("smp", 16, [12, 24, 36]),
    ],
)
def test_rates_of_the_pyramid(lineage, output_stride, rates):
    options = {"lineage": lineage, "backbone": "resnet50", "output_stride": output_stride, **TINY}
    network = functools.partial(deeplab_v3_plus.build, 5, **options)
    model = nnx.eval_shape(lambda: network(rngs=nnx.Rngs(0)))
    layers = [getattr(branch, "depthwise", branch) for branch in model.aspp.convs][1:]
    assert [getattr(layer, "conv", layer).dilation for layer in layers] == rates
    images = jax.ShapeDtypeStruct((1, 65, 65, 3), jnp.float32)
    made = nnx_io.abstract(network)
    out = jax.eval_shape(made.apply_eval, made.params, made.batch_stats, images)
    assert out["features"]["high"].shape[1:3] == (-(-65 // output_stride),) * 2


def test_mmsegmentation_dilates_basic_blocks_once():
    def dilations(lineage):
        options = {"lineage": lineage, "backbone": "resnet18", "output_stride": 8, "width": 0.125}
        model = nnx.eval_shape(lambda: deeplab_v3_plus.build(5, rngs=nnx.Rngs(0), **options))
        return [(b.conv1.dilation, b.conv2.dilation) for b in (*model.backbone.layer3, *model.backbone.layer4)]

    assert dilations("mmseg") == [(1, 1), (2, 1), (2, 1), (4, 1)]
    assert dilations("smp") == [(2, 2), (2, 2), (4, 4), (4, 4)]


def test_vplrs_projections_and_classifier_are_bare():
    network = nnx_io.abstract(functools.partial(deeplab_v3_plus.build, 5, **TINY))
    own = {name for name in network.params if name.split(".")[0] in ("bot_fine", "bot_aspp", "classifier")}
    assert own == {"bot_fine.kernel", "bot_aspp.kernel", "classifier.kernel"}


def test_another_stride_is_an_error_that_lists_the_known_ones():
    with pytest.raises(CsstError, match="output_stride=32; give 8 or 16 for DeepLabV3"):
        deeplab_v3_plus.build(5, rngs=nnx.Rngs(0), output_stride=32)
