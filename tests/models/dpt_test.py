"""DPT on DINOv2 and DINOv3: sizes, shapes, modes; numbers are compared with UniMatch V2's in tests/parity."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.models import dpt, nnx_io
from csst_jax.models.rematerialisation import rematerialised
from tests.models import traced

TINY = {"width": 0.125, "depth": 0.1}


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone,parameters",
    # UniMatch V2's, less what it does not use: the mask token, and one unit of the coarsest fusion. Those with
    # DINOv3 have timm's `qkvb` trunks in place of timm's DINOv2.
    [
        ("dinov2_small", 24_721_267),
        ("dinov2_base", 97_232_595),
        ("dinov2_large", 334_397_459),
        ("dinov3_small", 24_721_267 - 22_056_192 + 21_596_160),
        ("dinov3_base", 97_232_595 - 86_579_712 + 85_659_648),
        ("dinov3_large", 334_397_459 - 304_367_616 + 303_128_576),
    ],
)
def test_number_of_parameters(backbone, parameters):
    network = nnx_io.abstract(functools.partial(dpt.build, 19, backbone=backbone))
    assert sum(int(np.prod(leaf.shape)) for leaf in network.params.values()) == parameters


@pytest.mark.parametrize(
    ("backbone", "size", "patches"),
    [
        ("dinov2_base", (70, 98), (5, 7)),
        ("dinov2_base", (65, 97), (5, 7)),
        ("dinov2_base", (48, 49), (3, 4)),
        ("dinov2_base", (5, 20), (1, 1)),
        ("dinov3_base", (48, 112), (3, 7)),
        ("dinov3_base", (55, 105), (3, 7)),
        ("dinov3_base", (5, 24), (1, 2)),
    ],
)
def test_shapes_modes_and_dtypes_at_any_size(backbone, size, patches):
    network = nnx_io.abstract(functools.partial(dpt.build, 5, backbone=backbone, dtype=jnp.bfloat16, **TINY))
    assert network.batch_stats == {}
    for out in (traced.train(network, size), traced.evaluate(network, size)):
        assert out["aux"] == {}
        assert out["logits"].shape == (2, *size, 5) and out["logits"].dtype == jnp.float32
        features = out["features"]
        assert {features[name].shape for name in ("block1", "block2", "block3", "high")} == {(2, *patches, 128)}
        assert features["decoder"].shape == (2, *(8 * n for n in patches), 16)
        assert {feature.dtype for feature in features.values()} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("size", ["small", "base", "large"])
def test_dinov3_has_the_head_of_dinov2s_size(size):
    two, three = (
        nnx_io.abstract(functools.partial(dpt.build, 5, backbone=f"dinov{version}_{size}")).params for version in (2, 3)
    )
    heads = [
        {name: leaf.shape for name, leaf in params.items() if not name.startswith("backbone.")}
        for params in (two, three)
    ]
    assert heads[0] and heads[0] == heads[1]


@pytest.mark.parametrize(("pixels", "nearest"), [(1, 14), (20, 14), (21, 28), (798, 798), (1024, 1022), (2048, 2044)])
def test_the_nearest_size_in_patches_is_unimatch_v2s(pixels, nearest):
    assert dpt._nearest(pixels, 14) == nearest == max(1, int(pixels / 14 + 0.5)) * 14


@pytest.mark.parametrize(("pixels", "nearest"), [(1, 16), (23, 16), (24, 32), (800, 800), (1024, 1024), (1030, 1024)])
def test_the_nearest_size_in_patches_of_dinov3(pixels, nearest):
    assert dpt._nearest(pixels, 16) == nearest


@pytest.mark.parametrize("backbone", ["dinov2_base", "dinov3_base"])
def test_blocks_and_residual_units_can_be_computed_again(backbone):
    def remats(build):
        network = nnx_io.abstract(build)
        images, key = jax.ShapeDtypeStruct((1, 28, 28, 3), jnp.float32), jax.eval_shape(lambda: jax.random.key(0))
        return str(jax.make_jaxpr(network.apply_train)(network.params, {}, images, key)).count("remat")

    build = functools.partial(dpt.build, 5, backbone=backbone, **TINY)
    blocks, units = 4, 7
    assert remats(build) == 0 and remats(rematerialised(build)) >= blocks + units
