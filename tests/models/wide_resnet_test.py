"""WideResNet38: size, strides, dropout, and where its shortcut starts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import nnx_io
from csst_jax.models.backbones.wide_resnet import Block, WideResNet38
from csst_jax.types import CsstError


def test_number_of_parameters():
    # Facts §2.0: WRN38's mod1 to mod7, without `bn_out` and the classifier.
    network = nnx_io.abstract(WideResNet38)
    assert sum(int(np.prod(leaf.shape)) for leaf in network.params.values()) == 105_062_720


@pytest.mark.slow
@pytest.mark.parametrize(
    "output_stride,deep", [(8, {"mod5": 8, "mod6": 8}), (16, {"mod5": 16, "mod6": 16}), (32, {"mod5": 16, "mod6": 32})]
)
def test_features_have_their_strides_and_channels(output_stride, deep):
    build = functools.partial(WideResNet38, output_stride=output_stride, width=0.125, dtype=jnp.bfloat16)
    network = nnx_io.abstract(build)
    images = jax.ShapeDtypeStruct((2, 65, 97, 3), jnp.float32)
    features = jax.eval_shape(network.apply_eval, network.params, network.batch_stats, images)
    strides = {"mod1": 1, "mod2": 2, "mod3": 4, "mod4": 8, **deep, "mod7": output_stride}
    channels = nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0))).channels
    for name, stride in strides.items():
        assert features[name].shape == (2, -(-65 // stride), -(-97 // stride), channels[name]), name
        assert features[name].dtype == jnp.bfloat16
    assert channels["mod2"] == 16 and channels["mod7"] == 512
    assert {leaf.dtype for leaf in network.params.values()} == {jnp.dtype(jnp.float32)}


def test_dilations_are_those_of_vplr():
    model = nnx.eval_shape(lambda: WideResNet38(rngs=nnx.Rngs(0), width=0.125))
    found = [[block.conv2.dilation for block in getattr(model, f"mod{i}")] for i in range(2, 8)]
    assert found == [[1] * 3, [1] * 3, [1] * 6, [2] * 3, [4], [4]]
    assert [block.conv1.stride for block in model.mod4] == [2, 1, 1, 1, 1, 1]
    assert [getattr(model, name)[0].dropout is not None for name in ("mod5", "mod6", "mod7")] == [False, True, True]


def test_projection_sees_the_activated_input_and_the_identity_the_plain_one():
    def block(in_channels):
        return Block(in_channels, (8, 8), rngs=nnx.Rngs(0), stride=1, dilation=1, dropout=0.0, dtype=jnp.float32)

    below = -jnp.ones((1, 5, 5, 8))  # what ReLU removes
    same, wider = block(8), block(4)
    for module in (same, wider):
        module.eval()
    np.testing.assert_array_equal(same(below), below)
    np.testing.assert_array_equal(wider(below[..., :4]), 0 * below)


def test_dropout_drops_channels_in_training_only():
    module = Block(8, (8, 8, 8), rngs=nnx.Rngs(0), stride=1, dilation=1, dropout=0.5, dtype=jnp.float32)
    x = jnp.ones((1, 4, 4, 8))
    assert module.dropout.channels
    module.train()
    assert not np.array_equal(module(x), module(x))
    module.eval()
    np.testing.assert_array_equal(module(x), module(x))


def test_other_output_strides_are_refused():
    with pytest.raises(CsstError, match="8, 16 or 32"):
        WideResNet38(rngs=nnx.Rngs(0), output_stride=4)
