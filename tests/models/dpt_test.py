"""DPT on DINOv2: sizes, shapes, modes; numbers are compared with UniMatch V2's in tests/parity."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.models import dpt, nnx_io
from csst_jax.models.rematerialisation import rematerialised
from csst_jax.types import CsstError
from tests.models import traced

TINY = {"width": 0.125, "depth": 0.1}


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone,parameters",
    # UniMatch V2's, less what it does not use: the mask token, and one unit of the coarsest fusion.
    [("dinov2_small", 24_721_267), ("dinov2_base", 97_232_595), ("dinov2_large", 334_397_459)],
)
def test_number_of_parameters(backbone, parameters):
    network = nnx_io.abstract(functools.partial(dpt.build, 19, backbone=backbone))
    assert sum(int(np.prod(leaf.shape)) for leaf in network.params.values()) == parameters


@pytest.mark.parametrize(
    ("size", "patches"), [((70, 98), (5, 7)), ((65, 97), (5, 7)), ((48, 49), (3, 4)), ((5, 20), (1, 1))]
)
def test_shapes_modes_and_dtypes_at_any_size(size, patches):
    network = nnx_io.abstract(functools.partial(dpt.build, 5, dtype=jnp.bfloat16, **TINY))
    assert network.batch_stats == {}
    for out in (traced.train(network, size), traced.evaluate(network, size)):
        assert out["aux"] == {}
        assert out["logits"].shape == (2, *size, 5) and out["logits"].dtype == jnp.float32
        features = out["features"]
        assert {features[name].shape for name in ("block1", "block2", "block3", "high")} == {(2, *patches, 128)}
        assert features["decoder"].shape == (2, *(8 * n for n in patches), 16)
        assert {feature.dtype for feature in features.values()} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize(("pixels", "nearest"), [(1, 14), (20, 14), (21, 28), (798, 798), (1024, 1022), (2048, 2044)])
def test_the_nearest_size_in_patches_is_unimatch_v2s(pixels, nearest):
    assert dpt._nearest(pixels) == nearest == max(1, int(pixels / 14 + 0.5)) * 14


def test_blocks_and_residual_units_can_be_computed_again():
    def remats(build):
        network = nnx_io.abstract(build)
        images, key = jax.ShapeDtypeStruct((1, 28, 28, 3), jnp.float32), jax.eval_shape(lambda: jax.random.key(0))
        return str(jax.make_jaxpr(network.apply_train)(network.params, {}, images, key)).count("remat")

    build = functools.partial(dpt.build, 5, **TINY)
    blocks, units = 4, 7
    assert remats(build) == 0 and remats(rematerialised(build)) >= blocks + units


def test_an_unknown_backbone_lists_the_known():
    with pytest.raises(CsstError, match="unknown backbone 'vit' of DPT; known are: dinov2_small, dinov2_base, "):
        nnx_io.abstract(functools.partial(dpt.build, 5, backbone="vit"))
