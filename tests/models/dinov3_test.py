"""DINOv3's trunk in its parts and as a whole; the whole is compared with timm's in tests/parity."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import nnx_io
from csst_jax.models.backbones import dinov3
from csst_jax.models.backbones.dinov3 import ARCHITECTURES, DINOv3, QueryKeyValue
from csst_jax.models.rematerialisation import rematerialised
from csst_jax.types import CsstError

TOKENS = 5  # without a place: the class token and four registers


def build(rngs, dtype=jnp.float32):
    return DINOv3("dinov3_small", rngs=rngs, width=1 / 3, depth=0.01, dtype=dtype)


def drawn(network):
    """Values by name, large enough that every part counts."""
    rng = np.random.default_rng(0)
    values = {}
    for name, like in sorted(network.params.items()):
        spread = 0.5 if len(like.shape) == 1 else 1.5 / math.sqrt(like.size / like.shape[-1])
        values[name] = (rng.normal(size=like.shape) * spread + name.endswith("scale")).astype(np.float32)
    return values


def turned(vector, row, column, rows, columns):
    """A patch's query or key of 64 channels, pair by pair: as a complex number, turned by the patch's place."""
    out = np.empty(64)
    for pair in range(32):
        place = (2 * row + 1) / rows - 1 if pair < 16 else (2 * column + 1) / columns - 1
        z = complex(vector[pair], vector[32 + pair]) * np.exp(2j * np.pi * place * 10 ** (-(pair % 16) / 8))
        out[pair], out[32 + pair] = z.real, z.imag
    return out


def normalised(x, values, name):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * values[f"{name}.scale"] + values[f"{name}.bias"]


def by_hand(values, image):
    """The last features of one image in float64, token by token and head by head."""
    values = {name: value.astype(np.float64) for name, value in values.items()}
    rows, columns = image.shape[0] // 16, image.shape[1] // 16
    places = [(i, j) for i in range(rows) for j in range(columns)]
    patches = [np.tensordot(image[16 * i :, 16 * j :][:16, :16], values["patch_embed.kernel"], 3) for i, j in places]
    x = np.concatenate(
        [values["cls_token"][0], values["storage_tokens"][0], np.array(patches) + values["patch_embed.bias"]]
    )
    for number in range(4):
        part = {n.removeprefix(f"blocks.{number}."): v for n, v in values.items() if n.startswith(f"blocks.{number}.")}
        q, k, v = np.split(normalised(x, part, "norm1") @ part["attn.qkv.kernel"], 3, axis=-1)
        q, v = q + part["attn.qkv.bias"][:128], v + part["attn.qkv.bias"][128:]
        heads = []
        for head in (slice(0, 64), slice(64, 128)):
            own = [
                np.array([z if t < TOKENS else turned(z, *places[t - TOKENS], rows, columns) for t, z in enumerate(y)])
                for y in (q[:, head], k[:, head])
            ]
            scores = np.exp(own[0] @ own[1].T / 8)
            heads.append(scores / scores.sum(-1, keepdims=True) @ v[:, head])
        mixed = np.concatenate(heads, -1) @ part["attn.proj.kernel"] + part["attn.proj.bias"]
        x = x + mixed * part["ls1.gamma"]
        hidden = normalised(x, part, "norm2") @ part["mlp.fc1.kernel"] + part["mlp.fc1.bias"]
        hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        x = x + (hidden @ part["mlp.fc2.kernel"] + part["mlp.fc2.bias"]) * part["ls2.gamma"]
    return normalised(x, values, "norm")[TOKENS:].reshape(rows, columns, -1)


@pytest.mark.parametrize("size", [(48, 32), pytest.param((16, 80), marks=pytest.mark.slow)])
def test_features_are_those_computed_by_hand_at_any_size(size):
    network = nnx_io.abstract(build)
    values = drawn(network)
    images = np.random.default_rng(1).normal(size=(2, *size, 3)).astype(np.float32)
    maps = jax.jit(network.apply_eval)(values, {}, images)
    assert [y.shape for y in maps] == [(2, size[0] // 16, size[1] // 16, 128)] * 4
    for image, got in zip(images, maps[-1], strict=True):
        expected = by_hand(values, image.astype(np.float64))
        np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


def test_places_are_those_of_centres_along_each_side():
    sine, cosine = dinov3.angles(3, 2)
    assert sine.shape == cosine.shape == (TOKENS + 6, 32) and sine.dtype == cosine.dtype == np.float32
    np.testing.assert_array_equal(sine[:TOKENS], 0.0)
    np.testing.assert_array_equal(cosine[:TOKENS], 1.0)
    rng = np.random.default_rng(0)
    for token in range(6):
        x = rng.normal(size=64)
        s, c = sine[TOKENS + token], cosine[TOKENS + token]
        got = np.concatenate([x[:32] * c - x[32:] * s, x[32:] * c + x[:32] * s])
        np.testing.assert_allclose(got, turned(x, token // 2, token % 2, 3, 2), atol=1e-6)


def test_scores_depend_on_differences_of_places_alone():
    """What a rotation is for: two pairs of patches that are as far apart have the same product."""
    sine, cosine = (table[TOKENS:].reshape(4, 6, 32).astype(np.float64) for table in dinov3.angles(4, 6))
    turn = cosine + 1j * sine
    difference = turn * np.conj(turn[0, 0])
    np.testing.assert_allclose(turn[2, 5] * np.conj(turn[1, 2]), difference[1, 3], atol=1e-6)
    assert np.abs(difference[1, 3] - difference[1, 2]).max() > 0.1


def test_keys_have_no_bias():
    layer = QueryKeyValue(2, 6, rngs=nnx.Rngs(0), init_std=1.0, dtype=jnp.bfloat16)
    layer.bias.set_value(jnp.arange(1.0, 5.0))
    got = layer(jnp.zeros((1, 3, 2)))
    assert got.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got[0, 1], [1, 2, 0, 0, 3, 4])


def test_a_block_that_is_computed_again_has_the_same_program_for_the_features():
    def program(build):
        network = nnx_io.abstract(build)
        images = jax.ShapeDtypeStruct((1, 32, 48, 3), jnp.float32)
        return str(jax.make_jaxpr(network.apply_eval)(network.params, {}, images))

    plain, again = program(build), program(rematerialised(lambda rngs: build(rngs)))
    assert "remat" not in plain and again.count("remat") >= 4


def test_it_starts_with_small_layer_scales_and_registers_of_their_own():
    trunk = build(nnx.Rngs(0), jnp.bfloat16)
    for block in trunk.blocks:
        np.testing.assert_array_equal(block.ls1.gamma[...], np.float32(1e-5))
        np.testing.assert_array_equal(block.ls2.gamma[...], np.float32(1e-5))
    tokens = np.concatenate([trunk.cls_token[...], trunk.storage_tokens[...]], 1)
    assert tokens.shape == (1, TOKENS, 128) and abs(tokens.std() - 0.02) < 0.002
    norms = {block.norm1.epsilon for block in trunk.blocks} | {block.norm2.epsilon for block in trunk.blocks}
    assert norms == {1e-5} == {trunk.norm.epsilon}


@pytest.mark.parametrize(
    ("name", "depth", "taken"),
    [("dinov3_base", 1.0, (2, 5, 8, 11)), ("dinov3_large", 1.0, (4, 11, 17, 23)), ("dinov3_small", 0.01, (0, 1, 2, 3))],
)
def test_features_are_taken_at_the_same_shares_of_the_depth(name, depth, taken):
    trunk = nnx.eval_shape(lambda: DINOv3(name, rngs=nnx.Rngs(0), width=0.01, depth=depth))
    assert trunk.taken == taken and len(trunk.blocks) == taken[-1] + 1


def test_an_unknown_name_lists_the_known():
    with pytest.raises(CsstError, match=f"unknown backbone 'vit'; of DINOv3 there are: {', '.join(ARCHITECTURES)}"):
        DINOv3("vit", rngs=nnx.Rngs(0))
