"""Rematerialised blocks give what plain ones give, and keep less."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import nnx_io
from csst_jax.models.backbones import efficientnet_lite, resnet, wide_resnet
from csst_jax.models.rematerialisation import rematerialised
from csst_jax.types import CsstError
from tests.toy_network import Toy


class Blocks(nnx.Module):
    """Two blocks, the second with a shortcut that is no projection."""

    def __init__(self, block, *, rngs):
        self.blocks = nnx.List([block(channels, rngs=rngs) for channels in (3, 16)])

    def __call__(self, images):
        for block in self.blocks:
            images = block(images)
        return {"logits": images}


def residual(channels, *, rngs):
    architecture = resnet.Architecture((0, 0, 0, 0))
    shape = {"stride": 1, "dilation": 2, "stride_in_1x1": False, "dtype": jnp.float32}
    return resnet.Block(channels, 4, architecture, rngs=rngs, **shape)


def pre_activated(channels, *, rngs):
    shape = {"stride": 1, "dilation": 1, "dropout": 0.3, "dtype": jnp.float32}
    return wide_resnet.Block(channels, (8, 8, 16), rngs=rngs, **shape)


def inverted(channels, *, rngs):
    shape = {"stride": 1, "dilation": 2, "shortcut": channels == 16, "dtype": jnp.float32}
    return efficientnet_lite.InvertedResidual(channels, 16, 3, rngs=rngs, **shape)


def results(build, images):
    network = nnx_io.abstract(build)
    rng = np.random.default_rng(0)
    params = {
        name: jnp.asarray(
            rng.normal(size=like.shape) * (0.1 if "kernel" in name else 0) + ("scale" in name), jnp.float32
        )
        for name, like in network.params.items()
    }
    stats = {name: jnp.full(like.shape, float(name.endswith("var"))) for name, like in network.batch_stats.items()}

    def loss(params):
        outputs, new_stats = network.apply_train(params, stats, images, jax.random.key(1))
        return sum(jnp.mean(jnp.square(jnp.tanh(x))) for x in outputs.values()), new_stats

    return jax.jit(jax.value_and_grad(loss, has_aux=True)), params


@pytest.mark.slow
@pytest.mark.parametrize("block", [residual, pre_activated, inverted])
def test_gradients_and_statistics_are_those_of_plain_blocks(block):
    build = functools.partial(Blocks, block)
    images = jnp.asarray(np.random.default_rng(1).normal(size=(2, 32, 32, 3)), jnp.float32)
    plain, params = results(build, images)
    again, _ = results(rematerialised(build), images)
    (loss, stats), gradient = plain(params)
    (loss_again, stats_again), gradient_again = again(params)
    assert any(np.abs(stats[name] - float(name.endswith("var"))).max() > 1e-3 for name in stats), "statistics move"
    np.testing.assert_allclose(loss_again, loss, rtol=1e-6)
    for one, other in ((stats, stats_again), (gradient, gradient_again)):
        assert set(one) == set(other)
        for key in one:
            np.testing.assert_allclose(other[key], one[key], rtol=1e-6, atol=1e-6, err_msg=key)
    remats = [text.count("remat") for text in (str(jax.make_jaxpr(f)(params)) for f in (plain, again))]
    assert remats[0] == 0 < remats[1]


def test_network_without_such_blocks_is_refused():
    with pytest.raises(CsstError, match="remat=True: this network has no blocks that can"):
        nnx_io.abstract(rematerialised(Toy))
