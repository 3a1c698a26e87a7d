"""HRNetV2-W48: size, branches, how they exchange features; and the plain head."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import nnx_io
from csst_jax.models.backbones.hrnet import ExchangeModule, HRNet, concatenate_branches
from csst_jax.models.heads.hrnet_v2 import HRNetV2Head
from csst_jax.models.ops.resize import resize

TRUNK = 65_325_120


def count(arrays):
    return sum(int(np.prod(leaf.shape)) for leaf in arrays.values())


@pytest.mark.slow
def test_number_of_parameters_and_channels():
    trunk = nnx.eval_shape(lambda: HRNet(rngs=nnx.Rngs(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(trunk, nnx.Param))) == TRUNK
    assert dict(trunk.channels) == {"stride4": 48, "stride8": 96, "stride16": 192, "stride32": 384}


# 65,859,379: HRNet-Semantic-Segmentation (published as 65.8M); mmsegmentation's head lacks the 720 biases.
@pytest.mark.parametrize("bias,parameters", [(True, 65_859_379), (False, 65_858_659)])
def test_number_of_parameters_with_the_plain_head_at_19_classes(bias, parameters):
    head = nnx_io.abstract(functools.partial(HRNetV2Head, 720, 19, bias=bias))
    assert TRUNK + count(head.params) == parameters


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("size", [(64, 32), (65, 97)])
def test_branches_have_their_strides_and_channels(size, dtype):
    network = nnx_io.abstract(functools.partial(HRNet, width=0.125, depth=0.25, dtype=dtype))
    assert {leaf.dtype for leaf in network.params.values()} == {jnp.dtype(jnp.float32)}
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    out = jax.eval_shape(network.apply_eval, network.params, network.batch_stats, images)
    for name, channels in {"stride4": 8, "stride8": 16, "stride16": 24, "stride32": 48}.items():
        stride = int(name.removeprefix("stride"))
        assert out[name].shape == (2, *(-(-side // stride) for side in size), channels), name
        assert out[name].dtype == dtype
    joined = jax.eval_shape(functools.partial(concatenate_branches, align_corners=True), out)
    assert joined.shape == (2, *(-(-side // 4) for side in size), 96)


@pytest.mark.parametrize("align_corners,two_steps", [(True, False), (False, False), (False, True)])
def test_a_branch_becomes_the_sum_of_all_in_its_size(align_corners, two_steps):
    module = ExchangeModule(
        (8, 8),
        1,
        rngs=nnx.Rngs(0),
        align_corners=align_corners,
        upsample_in_two_steps=two_steps,
        dtype=jnp.float32,
    )
    module.eval()
    for (block,) in module.branches:
        block.conv2.kernel[...] = jnp.zeros_like(block.conv2.kernel[...])  # leaves the shortcut
    module.fuse_layers[0][1].conv.kernel[...] = jnp.eye(8)[None, None]
    rng = np.random.default_rng(0)
    fine, coarse = (jnp.asarray(rng.uniform(size=(1, *size, 8)), jnp.float32) for size in ((5, 9), (3, 5)))
    out = module([fine, coarse])
    large = resize(coarse, (6, 10), align_corners) if two_steps else coarse
    np.testing.assert_allclose(out[0], fine + resize(large, (5, 9), align_corners), atol=1e-4)
    down = module.fuse_layers[1][0]
    assert len(down) == 1 and not down[0].relu
    np.testing.assert_allclose(out[1], jax.nn.relu(coarse + down[0](fine)), atol=1e-5)


def test_two_strides_down_have_a_relu_between_and_none_after():
    module = nnx.eval_shape(lambda: HRNet(rngs=nnx.Rngs(0), width=0.125, depth=0.25)).stage4[0]
    assert [step.relu for step in module.fuse_layers[3][0]] == [True, True, False]
    assert [step.conv.kernel.shape[-1] for step in module.fuse_layers[3][0]] == [8, 8, 48]
    assert not module.fuse_layers[0][3].relu
