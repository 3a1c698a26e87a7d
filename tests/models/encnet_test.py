"""EncNet: size, shapes, modes, precision, lineages; the encoding layer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import HeadLosses
from csst_jax.models import encnet, nnx_io
from csst_jax.models.heads.encoding import Encoding, EncodingModule
from csst_jax.types import CsstError

SIZE = (65, 97)
IMAGES = jax.ShapeDtypeStruct((2, *SIZE, 3), jnp.float32)


def small(**options):
    options = {"backbone": "resnet50", "width": 0.125, "depth": 0.34, **options}
    return nnx_io.abstract(functools.partial(encnet.build, 5, **options))


def train(network):
    return jax.eval_shape(network.apply_train, network.params, network.batch_stats, IMAGES, jax.random.key(0))[0]


def count(arrays):
    return sum(int(np.prod(leaf.shape)) for leaf in arrays.values())


@pytest.mark.slow
# PyTorch-Encoding on resnet101s has these at 21 classes. At 19, each of the classifiers has two rows less.
@pytest.mark.parametrize(
    "classes,lateral,aux,parameters",
    [
        (21, True, False, 60_493_386),
        (21, True, True, 62_858_591),
        (21, False, False, 52_625_994),
        (21, False, True, 54_991_199),
        (19, False, False, 52_623_942),
        (19, False, True, 54_988_633),
    ],
)
def test_number_of_parameters(classes, lateral, aux, parameters):
    network = nnx_io.abstract(functools.partial(encnet.build, classes, lateral=lateral, aux=aux))
    assert count(network.params) == parameters


# mmsegmentation 1.2.2 built from encnet_r{50,101}-d8_4xb2-80k_cityscapes-512x1024.py.
@pytest.mark.parametrize(
    "backbone,aux,parameters",
    [("resnet101", True, 54_884_089), ("resnet50", True, 35_891_961), ("resnet50", False, 33_527_270)],
)
def test_number_of_parameters_of_mmsegmentation_at_19_classes(backbone, aux, parameters):
    build = functools.partial(encnet.build, 19, lineage="mmseg", backbone=backbone, aux=aux)
    assert count(nnx_io.abstract(build).params) == parameters


@pytest.mark.parametrize("lineage,lateral,stride", [("encoding", False, 8), ("encoding", True, 16), ("mmseg", True, 8)])
@pytest.mark.slow
def test_logits_have_the_size_of_the_image_and_features_their_stride(lineage, lateral, stride):
    network = small(lineage=lineage, lateral=lateral, output_stride=stride)
    out = train(network)
    evaluation = jax.eval_shape(network.apply_eval, network.params, network.batch_stats, IMAGES)
    for logits in (out["logits"], out["aux"]["layer3"], evaluation["logits"]):
        assert logits.shape == (2, *SIZE, 5) and logits.dtype == jnp.float32
    assert out["presence"].shape == (2, 5) and out["presence"].dtype == jnp.float32
    strides = {"layer1": 4, "layer2": 8, "layer3": stride, "layer4": stride, "encoded": stride}
    assert out["features"].keys() == evaluation["features"].keys() == strides.keys()
    for name, each in strides.items():
        assert out["features"][name].shape[1:3] == tuple(-(-side // each) for side in SIZE), name


def test_only_training_has_auxiliary_logits_and_presence():
    network = small()
    evaluation = jax.eval_shape(network.apply_eval, network.params, network.batch_stats, IMAGES)
    assert evaluation["aux"] == {} and "presence" not in evaluation
    network = small(aux=False)
    assert not any("auxlayer" in name for name in network.params)
    out = train(network)
    assert out["aux"] == {} and "presence" in out


def test_training_has_the_semantic_encoding_loss_beside_those_of_both_heads():
    labels = jax.ShapeDtypeStruct((2, *SIZE), jnp.uint8)
    losses = HeadLosses(cross_entropy, True, 0.7, 1 / 16, 0.4)
    weights = {}

    def means(outputs, labels):
        found = losses(outputs, labels)
        weights.update({name: loss.weight for name, loss in found.items()})
        return {name: loss.mean for name, loss in found.items()}

    jax.eval_shape(means, train(small()), labels)
    assert weights == {"main": 1.0, "layer3": 0.4, "semantic_encoding": 0.2}


def test_bfloat16_keeps_parameters_logits_and_presence_float32():
    network = small(dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in network.params.values()} == {jnp.dtype(jnp.float32)}
    out = train(network)
    assert out["features"]["encoded"].dtype == jnp.bfloat16
    assert out["logits"].dtype == out["aux"]["layer3"].dtype == out["presence"].dtype == jnp.float32


def test_another_stride_is_an_error_that_lists_the_known():
    with pytest.raises(CsstError, match="8 or 16"):
        small(output_stride=32)


def test_encoding_aggregates_residuals_by_soft_assignment():
    layer = Encoding(6, 4, rngs=nnx.Rngs(0))
    d, s = (np.asarray(p[...], np.float64) for p in (layer.codewords, layer.scale))
    assert np.abs(d).max() <= 1 / np.sqrt(24) and s.min() >= -1 and s.max() < 0
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 6))
    residuals = x.reshape(2, 15, 1, 6) - d
    weights = np.exp(s * np.square(residuals).sum(-1))
    weights /= weights.sum(-1, keepdims=True)
    expected = (weights[..., None] * residuals).sum(1)
    np.testing.assert_allclose(layer(jnp.asarray(x, jnp.float32)), expected, atol=1e-5)


@pytest.mark.slow
def test_codewords_are_the_channels_of_their_normalisation():
    module = EncodingModule(8, 3, rngs=nnx.Rngs(0), codes=4, dtype=jnp.float32)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 5, 8)), jnp.float32)
    y, presence = module(x)
    assert y.shape == x.shape and presence.shape == (2, 3)
    module.project.bn.mean[...] = jnp.zeros((8,))
    codes = np.asarray(module.encoding(module.project(x)))
    mean, var = codes.mean((0, 2)), codes.var((0, 2), ddof=1)
    np.testing.assert_allclose(module.norm.mean[...], 0.1 * mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(module.norm.var[...], 0.9 + 0.1 * var, rtol=1e-4)
