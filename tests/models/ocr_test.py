"""OCR on HRNetV2-W48: size, shapes, modes, precision, lineages; gathering and attention."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import nnx_io, ocr
from csst_jax.models.heads.ocr import ObjectAttention, spatial_gather

SIZE = (65, 97)
IMAGES = jax.ShapeDtypeStruct((2, *SIZE, 3), jnp.float32)


def small(**options):
    return nnx_io.abstract(functools.partial(ocr.build, 5, width=0.125, depth=0.25, **options))


def train(network):
    return jax.eval_shape(network.apply_train, network.params, network.batch_stats, IMAGES, jax.random.key(0))[0]


def count(arrays):
    return sum(int(np.prod(leaf.shape)) for leaf in arrays.values())


@pytest.mark.slow
# "original": HRNet-Semantic-Segmentation's branch HRNet-OCR, counted. "mmseg": mmsegmentation 1.2.2 built from
# ocrnet_hr48_4xb2-160k_cityscapes-512x1024.py; it lacks 512 + 720 biases.
@pytest.mark.parametrize(
    "lineage,classes,parameters",
    [("original", 19, 70_372_678), ("original", 11, 70_362_806), ("mmseg", 19, 70_371_446)],
)
def test_number_of_parameters(lineage, classes, parameters):
    assert count(nnx_io.abstract(functools.partial(ocr.build, classes, lineage=lineage)).params) == parameters


@pytest.mark.slow
def test_the_coarse_head_stays_without_auxiliary_logits():
    with_aux, without = small(), small(aux=False)
    assert without.params.keys() == with_aux.params.keys()
    assert train(without)["aux"] == {} and train(with_aux)["aux"].keys() == {"regions"}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("lineage", ocr.LINEAGES)
def test_logits_have_the_size_of_the_image_and_features_their_stride(lineage, dtype):
    network = small(lineage=lineage, dtype=dtype)
    assert {leaf.dtype for leaf in network.params.values()} == {jnp.dtype(jnp.float32)}
    out = train(network)
    evaluation = jax.eval_shape(network.apply_eval, network.params, network.batch_stats, IMAGES)
    assert evaluation["aux"] == {}
    for logits in (out["logits"], out["aux"]["regions"], evaluation["logits"]):
        assert logits.shape == (2, *SIZE, 5) and logits.dtype == jnp.float32
    strides = {"stride4": 4, "stride8": 8, "stride16": 16, "stride32": 32, "trunk": 4, "ocr": 4}
    assert out["features"].keys() == evaluation["features"].keys() == strides.keys()
    for name, stride in strides.items():
        assert out["features"][name].shape[1:3] == tuple(-(-side // stride) for side in SIZE), name
        assert out["features"][name].dtype == dtype


def test_a_region_is_the_mean_over_pixels_weighted_by_a_softmax_over_pixels():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 3, 4, 6)).astype(np.float32)
    logits = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    logits[:, :, :, 0] = 7.0  # even: the plain mean
    logits[:, 1, 2, 1] = 1000.0  # one pixel alone
    regions = np.asarray(spatial_gather(jnp.asarray(features), jnp.asarray(logits)))
    assert regions.shape == (2, 5, 1, 6)
    np.testing.assert_allclose(regions[:, 0, 0], features.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(regions[:, 1, 0], features[:, 1, 2], atol=1e-6)
    weights = np.exp(logits[..., 2]) / np.exp(logits[..., 2]).sum((1, 2), keepdims=True)
    np.testing.assert_allclose(regions[:, 2, 0], np.einsum("bhw,bhwc->bc", weights, features), atol=1e-6)


def test_gathering_is_float32_whatever_comes_in():
    rng = np.random.default_rng(0)
    features = jnp.asarray(rng.normal(1, 1, size=(1, 128, 128, 4)), jnp.bfloat16)
    logits = jnp.asarray(rng.normal(size=(1, 128, 128, 3)), jnp.bfloat16)
    regions = spatial_gather(features, logits)
    assert regions.dtype == jnp.bfloat16
    exact = spatial_gather(features.astype(jnp.float32), logits.astype(jnp.float32))
    np.testing.assert_array_equal(regions, exact.astype(jnp.bfloat16))


def test_attention_weighs_regions_by_affinity():
    module = ObjectAttention(6, 8, rngs=nnx.Rngs(0), dtype=jnp.float32)
    module.eval()
    rng = np.random.default_rng(0)
    features, regions = rng.normal(size=(1, 2, 3, 6)), rng.normal(size=(1, 4, 1, 6))
    out = module(jnp.asarray(features, jnp.float32), jnp.asarray(regions, jnp.float32))

    def through(modules, x):
        for m in modules:
            # Batch statistics 0 and 1 and a square of width one: a matrix.
            x = np.maximum(x @ np.asarray(m.conv.kernel[0, 0]) / np.sqrt(1 + 1e-5), 0)
        return x

    query = through(module.f_pixel, features).reshape(6, 8)
    key, value = through(module.f_object, regions).reshape(4, 8), through([module.f_down], regions).reshape(4, 8)
    weights = np.exp(query @ key.T / np.sqrt(8))
    weights /= weights.sum(1, keepdims=True)
    expected = through([module.f_up], weights @ value).reshape(out.shape)
    np.testing.assert_allclose(out, expected, atol=1e-5)
