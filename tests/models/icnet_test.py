"""ICNet: size, shapes, modes and precision by lineage; numbers were compared with gluon-cv 0.10.5 and mmseg 1.2.2."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import icnet, nnx_io
from csst_jax.models.layers import BatchNorm
from tests.models.traced import evaluate, train


@functools.cache
def abstract(classes=5, **options):
    return nnx_io.abstract(functools.partial(icnet.build, classes, **options))


def count(arrays):
    return sum(int(np.prod(leaf.shape)) for leaf in arrays.values())


@pytest.mark.slow
# "gluon": gluon-cv's own module, whose count includes its auxiliary classifiers; "original": the published prototxt,
# which is the network for inference; "mmseg": mmseg 1.2.2's modules of `icnet_r50-d8`.
@pytest.mark.parametrize(
    "lineage,without,with_aux",
    [
        ("gluon", 47_484_320, 47_489_184),
        ("original", 6_699_987, 6_707_321),
        ("mmseg", 47_527_507, 47_827_833),
    ],
)
def test_number_of_parameters_at_19_classes(lineage, without, with_aux):
    network = abstract(19, lineage=lineage)
    assert count(network.params) == with_aux
    assert count(abstract(19, lineage=lineage, aux=False).params) == without
    assert {leaf.dtype for leaf in network.params.values()} == {jnp.dtype(jnp.float32)}


@pytest.mark.slow
def test_the_default_is_gluon():
    assert abstract().params.keys() == abstract(lineage="gluon").params.keys()
    assert abstract().params["backbone.conv3.kernel"].shape == (3, 3, 64, 128)


SIZES = {
    "gluon": {(65, 97): ((4, 6), (2, 3)), (64, 768): ((4, 48), (2, 24))},
    "original": {(65, 97): ((5, 7), (3, 4)), (1025, 2049): ((65, 129), (33, 65))},
    "mmseg": {(65, 97): ((5, 7), (2, 3))},
}


@pytest.mark.parametrize("lineage,size", [(lineage, size) for lineage, sizes in SIZES.items() for size in sizes])
@pytest.mark.slow
def test_logits_have_the_size_of_the_image_and_branches_those_of_the_lineage(lineage, size):
    network = abstract(lineage=lineage, width=0.25, depth=0.3)
    out = train(network, size)
    assert set(out["aux"]) == {"stride16", "stride8"}
    for logits in (out["logits"], *out["aux"].values()):
        assert logits.shape == (2, *size, 5) and logits.dtype == jnp.float32
    eighth = tuple(-(-side // 8) for side in size)
    sub2, sub4 = SIZES[lineage][size]
    assert {name: feature.shape[1:3] for name, feature in out["features"].items()} == {
        "sub1": eighth,
        "sub2": sub2,
        "sub4": sub4,
        "cff_24": sub2,
        "cff_12": eighth,
    }


@pytest.mark.slow
@pytest.mark.parametrize("lineage", icnet.LINEAGES)
def test_auxiliary_heads_run_in_training_mode_alone(lineage):
    size = (65, 97)
    with_heads, without = (abstract(lineage=lineage, width=0.25, depth=0.3, aux=aux) for aux in (True, False))
    assert with_heads.params.keys() - without.params.keys() == {n for n in with_heads.params if n.startswith("aux_")}
    for network in (with_heads, without):
        out = evaluate(network, size)
        assert out["aux"] == {} and out["logits"].shape == (2, *size, 5)
    assert train(without, size)["aux"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("lineage", icnet.LINEAGES)
def test_bfloat16_computes_inside_alone(lineage):
    network = abstract(lineage=lineage, width=0.25, depth=0.3, dtype=jnp.bfloat16)
    out = train(network, (64, 97))
    assert {feature.dtype for feature in out["features"].values()} == {jnp.dtype(jnp.bfloat16)}
    assert {x.dtype for x in (out["logits"], *out["aux"].values(), *network.params.values())} == {
        jnp.dtype(jnp.float32)
    }


def test_the_original_is_the_published_file():
    network = abstract(19, lineage="original", aux=False)
    shapes = {name: leaf.shape for name, leaf in network.params.items()}
    # Channels of `icnet_cityscapes_bnnomerge.prototxt`, by its own names.
    assert shapes["backbone.conv1.kernel"] == (3, 3, 3, 32)  # conv1_1_3x3_s2
    assert shapes["backbone.conv3.kernel"] == (3, 3, 32, 64)  # conv1_3_3x3
    assert shapes["backbone.layer1.0.conv3.kernel"] == (1, 1, 32, 128)  # conv2_1_1x1_increase
    assert shapes["backbone.layer4.2.conv2.kernel"] == (3, 3, 256, 256)  # conv5_3_3x3
    assert shapes["psp.bottleneck.conv.kernel"] == (1, 1, 1024, 256)  # conv5_4_k1
    assert shapes["cff_24.conv_low.conv.kernel"] == (3, 3, 256, 128)  # conv_sub4
    assert shapes["cff_24.conv_high.conv.kernel"] == (1, 1, 256, 128)  # conv3_1_sub2_proj
    assert shapes["cff_12.conv_low.conv.kernel"] == (3, 3, 128, 128)  # conv_sub2
    assert shapes["cff_12.conv_high.conv.kernel"] == (1, 1, 64, 128)  # conv3_sub1_proj
    assert sum(name.endswith("scale") for name in shapes) == 63  # its BN layers
    module = nnx.eval_shape(lambda: icnet.build(19, rngs=nnx.Rngs(0), lineage="original"))
    assert {m.momentum for _, m in nnx.iter_modules(module) if isinstance(m, BatchNorm)} == {0.05}
    first, second = module.backbone.layer2[0], module.backbone.layer2[1]
    assert (first.conv1.stride, first.conv2.stride, second.conv1.stride) == (2, 1, 1)
    assert [module.backbone.layer3[0].conv2.dilation, module.backbone.layer4[0].conv2.dilation] == [2, 4]


@pytest.mark.parametrize(
    "size,published", [(33, {1: (33, 33), 2: (17, 16), 3: (13, 10), 6: (8, 5)}), (65, {2: (33, 32), 3: (25, 20)})]
)
def test_windows_of_the_original_pyramid(size, published):
    for bins, (length, stride) in published.items():
        matrix = icnet._windows(size, bins)
        assert matrix.shape == (bins, size)
        for i, row in enumerate(matrix):
            np.testing.assert_array_equal(np.flatnonzero(row), np.arange(i * stride, i * stride + length))
        np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-6)
        assert matrix.any(0).all()


@pytest.mark.parametrize("size", range(1, 14))
def test_windows_cover_any_size(size):
    for bins in (1, 2, 3, 6):
        matrix = icnet._windows(size, bins)
        assert matrix.any(0).all()
        np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-6)


def test_halving_follows_the_lineage():
    x = jnp.arange(7.0).reshape(1, 7, 1, 1) ** 2
    x = jnp.broadcast_to(x, (1, 7, 4, 1))
    half = {name: icnet._half(x, own) for name, own in icnet.LINEAGES.items()}
    assert {name: y.shape[1:3] for name, y in half.items()} == {"gluon": (3, 2), "original": (4, 2), "mmseg": (3, 2)}
    np.testing.assert_allclose(half["original"][0, :, 0, 0], [0, 4, 16, 36])  # every second pixel
    np.testing.assert_allclose(half["mmseg"][0, :, 0, 0], [0.5, 6.5, 20.5], rtol=1e-6)  # means of two; not the last row
    np.testing.assert_allclose(half["gluon"][0, :, 0, 0], [0, 9, 36], rtol=1e-6)  # corner to corner
