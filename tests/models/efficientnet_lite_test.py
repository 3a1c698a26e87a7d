"""EfficientNet-Lite0: size, strides, dilation, TensorFlow's padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import nnx_io
from csst_jax.models.backbones.efficientnet_lite import EfficientNetLite, EfficientNetLite0, InvertedResidual, SameConv
from csst_jax.types import CsstError

SMALL = {"width": 0.25}


@pytest.mark.parametrize(
    "name,parameters,last",
    # timm's `tf_efficientnet_lite0` to 2; without `conv_head`, `bn2` and classifier of 1280 channels.
    [
        ("efficientnet_lite0", 4_652_008, 320),
        ("efficientnet_lite1", 5_416_680, 320),
        ("efficientnet_lite2", 6_092_072, 352),
    ],
)
def test_number_of_parameters(name, parameters, last):
    network = nnx_io.abstract(functools.partial(EfficientNetLite, name))
    head = 1280 * last + 2 * 1280 + 1280 * 1000 + 1000
    assert sum(int(np.prod(leaf.shape)) for leaf in network.params.values()) == parameters - head


@pytest.mark.slow
@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("size", [(65, 97), (64, 50)])
def test_features_have_their_strides_and_channels(output_stride, size):
    build = functools.partial(EfficientNetLite0, output_stride=output_stride, dtype=jnp.bfloat16)
    network = nnx_io.abstract(build)
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    features = jax.eval_shape(network.apply_eval, network.params, network.batch_stats, images)
    full = {"stem": 2, "stage0": 2, "stage1": 4, "stage2": 8, "stage3": 16, "stage4": 16, "stage5": 32, "stage6": 32}
    channels = {"stem": 32, "stage0": 16, "stage1": 24, "stage2": 40, "stage3": 80, "stage4": 112, "stage5": 192}
    assert nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0))).channels == channels | {"stage6": 320}
    for name, stride in full.items():
        stride = min(stride, output_stride)
        shape = (2, *(-(-side // stride) for side in size), channels.get(name, 320))
        assert features[name].shape == shape, name
        assert features[name].dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in network.params.values()} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize(
    "output_stride,first,expected",
    [
        (8, False, [[1], [1, 1], [1, 1], [1, 2, 2], [2, 2, 2], [2, 4, 4, 4], [4]]),
        (8, True, [[1], [1, 1], [1, 1], [2, 2, 2], [2, 2, 2], [4, 4, 4, 4], [4]]),
        (16, False, [[1], [1, 1], [1, 1], [1, 1, 1], [1, 1, 1], [1, 2, 2, 2], [2]]),
    ],
)
def test_stages_beyond_the_output_stride_are_dilated(output_stride, first, expected):
    def build():
        return EfficientNetLite0(rngs=nnx.Rngs(0), output_stride=output_stride, dilate_first_block=first, **SMALL)

    model = nnx.eval_shape(build)
    assert [[block.conv_dw.dilation for block in stage] for stage in model.blocks] == expected


@pytest.mark.parametrize("size", [(8, 8), (9, 6)])
@pytest.mark.parametrize("kernel,stride,dilation", [(3, 2, 1), (5, 2, 1), (5, 1, 1), (3, 1, 2)])
@pytest.mark.slow
def test_same_padding_is_xlas(size, kernel, stride, dilation):
    conv = SameConv(4, 4, kernel, rngs=nnx.Rngs(0), stride=stride, dilation=dilation, groups=4)
    x = jax.random.normal(jax.random.key(1), (2, *size, 4))
    expected = jax.lax.conv_general_dilated(
        x,
        conv.kernel[...],
        (stride, stride),
        "SAME",
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=4,
    )
    np.testing.assert_allclose(conv(x), expected, atol=1e-5)


def test_normalisation_has_tensorflows_epsilon():
    model = nnx.eval_shape(lambda: EfficientNetLite0(rngs=nnx.Rngs(0), **SMALL))
    assert {module.epsilon for _, module in nnx.iter_modules(model) if hasattr(module, "epsilon")} == {1e-3}


def test_activations_are_bounded_and_the_projection_is_linear():
    block = InvertedResidual(2, 2, 3, rngs=nnx.Rngs(0), stride=1, dilation=1, shortcut=False, dtype=jnp.float32)
    block.eval()
    for conv, value in ((block.conv_pw, 1.0), (block.conv_dw, 1.0), (block.conv_pwl, -1 / 12)):
        conv.kernel[...] = jnp.full_like(conv.kernel[...], value)
    # Twelve channels of 6, averaged; the normalisations divide by the root of 1.001 three times.
    np.testing.assert_allclose(block(jnp.full((1, 4, 4, 2), 1e3)), -6 / np.sqrt(1.001), rtol=1e-5)


def test_an_output_stride_that_there_is_not_is_refused():
    with pytest.raises(CsstError, match="output_stride=4; give 8, 16 or 32"):
        EfficientNetLite0(rngs=nnx.Rngs(0), output_stride=4)
