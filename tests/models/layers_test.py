"""Batch normalisation, pooling, dropout and convolution against numbers worked out by hand, and over eight devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models.layers import BatchNorm, Classifier, Conv, ConvBN, Dropout, GroupNorm, fan_in_std
from csst_jax.streams import LABELLED
from csst_jax.train.sharding import input_shardings, make_mesh, replicated

RNGS = nnx.Rngs(0)


def state_of(module):
    graph, params, stats = nnx.split(module, nnx.Param, nnx.BatchStat)
    return graph, params, stats


def test_conv_pads_strides_and_adds_the_bias_as_pytorch_does():
    conv = Conv(1, 1, 3, rngs=nnx.Rngs(0), stride=2, padding=1, bias=True)
    conv.kernel[...] = jnp.arange(9.0).reshape(3, 3, 1, 1)
    conv.bias[...] = jnp.array([0.5])
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    # Cross-correlation around (0, 0), (0, 2), (2, 0), (2, 2): "SAME" would start at (1, 1).
    expected = [
        [4 * 0 + 5 * 1 + 7 * 4 + 8 * 5, 3 * 1 + 4 * 2 + 5 * 3 + 6 * 5 + 7 * 6 + 8 * 7],
        [
            1 * 4 + 2 * 5 + 4 * 8 + 5 * 9 + 7 * 12 + 8 * 13,
            sum(k * v for k, v in enumerate([5, 6, 7, 9, 10, 11, 13, 14, 15])),
        ],
    ]
    np.testing.assert_allclose(conv(x)[0, :, :, 0], np.array(expected) + 0.5)


def test_conv_weights_are_drawn_by_fan_out():
    dense = Conv(64, 32, 3, rngs=nnx.Rngs(0)).kernel[...]
    assert dense.shape == (3, 3, 64, 32)
    np.testing.assert_allclose(np.std(dense), np.sqrt(2 / (9 * 32)), rtol=0.03)
    depthwise = Conv(512, 512, 3, rngs=nnx.Rngs(0), groups=512).kernel[...]
    assert depthwise.shape == (3, 3, 1, 512)
    np.testing.assert_allclose(np.std(depthwise), np.sqrt(2 / 9), rtol=0.05)


def test_a_classifier_starts_from_even_probabilities():
    classifier = Classifier(128, 19, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(np.std(classifier.kernel[...]), 0.01, rtol=0.05)
    features = jax.nn.relu(jax.random.normal(jax.random.key(0), (2, 4, 4, 128)))
    probability = jax.nn.softmax(classifier(features))
    assert probability.shape == (2, 4, 4, 19)
    assert jnp.max(jnp.abs(probability - 1 / 19)) < 0.03


def test_batch_norm_worked_out_by_hand():
    bn = BatchNorm(1, rngs=RNGS)
    bn.scale[...], bn.bias[...] = jnp.array([2.0]), jnp.array([0.5])
    x = jnp.array([1.0, 2.0, 3.0, 6.0]).reshape(1, 2, 2, 1)
    # mean 3, biased variance (4 + 1 + 0 + 9) / 4 = 3.5, unbiased 14 / 3
    y = bn(x)
    np.testing.assert_allclose(y.ravel(), 2 * (np.array([1, 2, 3, 6]) - 3) / np.sqrt(3.5 + 1e-5) + 0.5, rtol=1e-6)
    np.testing.assert_allclose(bn.mean[...], [0.1 * 3], rtol=1e-6)
    np.testing.assert_allclose(bn.var[...], [0.9 * 1 + 0.1 * 14 / 3], rtol=1e-6)
    bn(x)
    np.testing.assert_allclose(bn.mean[...], [0.3 + 0.1 * (3 - 0.3)], rtol=1e-6)
    bn.eval()
    before = bn.mean[...], bn.var[...]
    y = bn(x)
    np.testing.assert_allclose(
        y.ravel(), 2 * (np.array([1, 2, 3, 6]) - before[0]) / np.sqrt(before[1] + 1e-5) + 0.5, rtol=1e-6
    )
    assert (bn.mean[...], bn.var[...]) == before


def test_batch_norm_of_large_offsets_keeps_the_variance():
    """E[x^2] - E[x]^2 in float32 would lose it: here they differ by a millionth."""
    bn = BatchNorm(1, rngs=RNGS)
    bn.mean[...] = jnp.array([1000.0])
    x = 1000 + np.random.default_rng(0).normal(size=(4, 16, 16, 1)).astype(np.float32)
    np.testing.assert_allclose(bn(jnp.asarray(x)), (x - x.mean()) / x.std(), atol=2e-3)


def test_batch_norm_of_pooled_images_that_are_alike_keeps_their_difference():
    """The squares of two means differ in digits that float32 has not."""
    x = np.array([5.0, 5.002], np.float32)
    y = BatchNorm(1, rngs=RNGS)(jnp.asarray(x.reshape(2, 1, 1, 1)))
    half = (np.float64(x[1]) - np.float64(x[0])) / 2
    np.testing.assert_allclose(y.ravel(), np.array([-half, half]) / np.sqrt(half**2 + 1e-5), rtol=1e-3)


def test_batch_norm_of_one_value_has_no_infinite_variance():
    bn = BatchNorm(2, rngs=RNGS)
    bn(jnp.ones((1, 1, 1, 2)))
    assert np.isfinite(bn.var[...]).all()


def test_statistics_stay_float32_under_bfloat16():
    layer = ConvBN(3, 4, 1, rngs=nnx.Rngs(0), dtype=jnp.bfloat16)
    x = jnp.asarray(3 + np.random.default_rng(0).normal(size=(4, 9, 9, 3)), jnp.float32)
    y = layer(x)
    assert y.dtype == jnp.bfloat16
    assert layer.bn.mean[...].dtype == layer.bn.var[...].dtype == layer.conv.kernel[...].dtype == jnp.float32
    wide = layer.conv(x).astype(jnp.float32)
    np.testing.assert_allclose(layer.bn.mean[...], 0.1 * wide.mean((0, 1, 2)), rtol=1e-5)
    # As if rounded once at the end, not at each step of the arithmetic.
    exact = np.maximum((wide - wide.mean((0, 1, 2))) / np.sqrt(wide.var((0, 1, 2)) + 1e-5), 0)
    np.testing.assert_allclose(y.astype(np.float32), exact, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize("spatial", [1, 2])
def test_batch_norm_over_eight_devices_is_that_of_one(spatial):
    """The paper's synchronised batch normalisation: forward, gradients and running statistics."""
    bn = BatchNorm(3, rngs=RNGS)
    bn.mean[...] = jnp.array([0.5, -1.0, 2.0])
    graph, params, stats = state_of(bn)
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(8, 6, 5, 3)) * [1, 2, 3] + np.arange(8)[:, None, None, None]).astype(np.float32)
    weight = rng.normal(size=x.shape).astype(np.float32)

    def forward(params, x):
        module = nnx.merge(graph, params, stats, copy=True)
        y = module(x)
        return jnp.sum(y * weight), (y, nnx.state(module, nnx.BatchStat))

    step = jax.value_and_grad(forward, (0, 1), has_aux=True)
    one = jax.jit(step)(params, x)
    mesh = make_mesh(jax.devices()[:8], spatial)
    pixels = input_shardings([LABELLED], mesh)["labelled"]["image"]
    eight = jax.jit(step, in_shardings=(replicated(mesh), pixels))(params, x)
    assert len(eight[0][1][0].sharding.device_set) == 8
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-5), eight, one)
    # and not those of a device's own part, which differ here
    assert np.abs(x[:1].mean((0, 1, 2)) - x.mean((0, 1, 2))).max() > 1


def test_group_norm_is_of_one_image_and_one_group():
    x = np.random.default_rng(0).normal(100.0, 2.0, (2, 3, 5, 6)).astype(np.float32)
    norm = GroupNorm(6, 2, rngs=nnx.Rngs(0))
    norm.scale[...], norm.bias[...] = jnp.arange(1.0, 7.0), jnp.arange(6.0)
    expected = np.empty(x.shape)
    for image in range(2):
        for group in (slice(0, 3), slice(3, 6)):
            part = x[image, :, :, group].astype(np.float64)
            expected[image, :, :, group] = (part - part.mean()) / np.sqrt(part.var() + 1e-5)
    np.testing.assert_allclose(norm(jnp.asarray(x)), expected * np.arange(1, 7) + np.arange(6), atol=1e-4)
    assert norm(jnp.asarray(x, jnp.bfloat16)).dtype == jnp.bfloat16


def test_weights_by_fan_in():
    kernel = Conv(64, 8, 3, rngs=nnx.Rngs(0), init_std=fan_in_std(64, 3)).kernel[...]
    np.testing.assert_allclose(np.std(kernel), np.sqrt(2 / (9 * 64)), rtol=0.05)
    kernel = ConvBN(64, 64, 1, rngs=nnx.Rngs(0), init_std=fan_in_std(64, gain=1 / 3)).conv.kernel[...]
    np.testing.assert_allclose(np.std(kernel), np.sqrt(1 / (3 * 64)), rtol=0.05)


@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_conv_bn_keeps_the_size_unless_told_a_padding(kernel_size, dilation):
    def output(**options):
        layer = ConvBN(2, 3, kernel_size, rngs=nnx.Rngs(0), dilation=dilation, **options)
        return jax.eval_shape(layer.conv, jax.ShapeDtypeStruct((1, 17, 18, 2), jnp.float32)).shape

    reach = dilation * (kernel_size - 1)
    assert output() == (1, 17, 18, 3)
    assert output(stride=2) == (1, 9, 9, 3)
    assert output(padding=0) == (1, 17 - reach, 18 - reach, 3)


def test_dropout_keeps_the_mean_and_is_the_identity_in_evaluation_mode():
    dropout = Dropout(0.25, rngs=nnx.Rngs(0))
    x = jnp.ones((4, 50, 50, 4))
    y = dropout(x)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    np.testing.assert_allclose(y.mean(), 1, atol=0.02)
    dropout.eval()
    np.testing.assert_array_equal(dropout(x), x)


def test_dropout_of_channels_drops_them_whole_and_by_image():
    dropout = Dropout(0.25, rngs=nnx.Rngs(0), channels=True)
    y = np.asarray(dropout(jnp.ones((8, 3, 5, 64))))
    assert (y == y[:, :1, :1]).all()
    kept = y[:, 0, 0] > 0
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    np.testing.assert_allclose(kept.mean(), 0.75, atol=0.06)
    assert (kept != kept[:1]).any(), "each image has its own draw"
    dropout.eval()
    assert (dropout(jnp.ones((1, 2, 2, 4))) == 1).all()
