"""What the trunks of DINOv2 and DINOv3 share: patches, GELU, rotations, and heads that devices share."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models.backbones import vit
from csst_jax.models.backbones.dinov3 import angles
from csst_jax.models.backbones.vit import Block, PatchEmbed
from csst_jax.streams import LABELLED
from csst_jax.train.sharding import input_shardings, make_mesh, replicated


@pytest.mark.parametrize("side", [14, 16])
def test_a_patch_is_what_a_convolution_with_its_side_as_stride_makes_of_it(side):
    embed = PatchEmbed(side, 5, rngs=nnx.Rngs(0), dtype=jnp.float32)
    embed.bias.set_value(jnp.arange(5.0))
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2 * side, 3 * side, 3)), jnp.float32)
    numbers = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(images, embed.kernel[...], (side, side), "VALID", dimension_numbers=numbers)
    np.testing.assert_allclose(embed(images), (expected + jnp.arange(5.0)).reshape(2, 6, 5), atol=1e-4)


def test_gelu_is_the_exact_one():
    x = np.linspace(-6, 6, 49).astype(np.float32)
    expected = [value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x.tolist()]
    np.testing.assert_allclose(vit.gelu(jnp.asarray(x)), expected, atol=2e-6)
    assert vit.gelu(jnp.asarray(x, jnp.bfloat16)).dtype == jnp.bfloat16


def test_a_rotation_is_a_product_with_a_complex_number_in_float32():
    rng = np.random.default_rng(0)
    x, turn = rng.normal(size=(2, 3, 5, 64)).astype(np.float32), rng.uniform(-7, 7, (5, 32))
    expected = (x[..., :32] + 1j * x[..., 32:]) * np.exp(1j * turn)
    tables = jnp.asarray(np.sin(turn), jnp.float32), jnp.asarray(np.cos(turn), jnp.float32)
    got = np.asarray(vit.rotated(jnp.asarray(x), tables))
    np.testing.assert_allclose(got, np.concatenate([expected.real, expected.imag], -1), atol=1e-5)
    rounded = jnp.asarray(x, jnp.bfloat16)
    got = vit.rotated(rounded, tables)
    assert got.dtype == jnp.bfloat16
    # One rounding, at the end.
    np.testing.assert_array_equal(got, vit.rotated(rounded.astype(jnp.float32), tables).astype(jnp.bfloat16))


def _with_gradients(heads, mesh, rotation):
    """A block's loss and gradients, and the compiled program as text."""
    block = Block(heads, rngs=nnx.Rngs(0), dtype=jnp.float32)
    graph, params = nnx.split(block)
    x = np.random.default_rng(0).normal(size=(8, 5, 5, 64 * heads)).astype(np.float32)

    def run(params, x):
        def loss(params, x):
            y = nnx.merge(graph, params)(x.reshape(8, 25, -1), rotation)
            return jnp.mean(y * jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape))

        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return jax.value_and_grad(loss, (0, 1))(params, x)

    images, everywhere = input_shardings([LABELLED], mesh)["labelled"]["sample"], replicated(mesh)
    compiled = jax.jit(run, in_shardings=(everywhere, images), out_shardings=everywhere).lower(params, x).compile()
    return jax.device_get(compiled(jax.device_put(params, everywhere), jax.device_put(x, images))), compiled.as_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("heads", "spatial", "own", "rotates"),
    [(2, 1, 2, False), (1, 2, 1, False), (2, 2, 1, False), (2, 2, 1, True)],
)
def test_devices_along_spatial_share_the_heads_where_they_divide_them(heads, spatial, own, rotates):
    rotation = jax.tree.map(jnp.asarray, angles(4, 5)) if rotates else None  # with five tokens that have no place
    one, _ = _with_gradients(heads, make_mesh(jax.devices()[:1], 1), rotation)
    eight, text = _with_gradients(heads, make_mesh(jax.devices()[:8], spatial), rotation)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), eight, one)
    assert f"f32[{spatial},{own},25,25]" in text and (own == heads or f"f32[{spatial},{heads},25,25]" not in text)
