"""DINOv2's trunk in its parts; the whole is compared with timm's and UniMatch V2's in tests/parity."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models.backbones import dinov2
from csst_jax.models.backbones.dinov2 import ARCHITECTURES, DINOv2
from csst_jax.models.layers import LayerNorm
from csst_jax.types import CsstError


def cubic(embeddings, rows, columns):
    """Position by position, by `torch.nn.functional.interpolate(scale_factor=(n + 0.1) / 37, mode="bicubic")`."""

    def taps(i, scale):
        place = (i + 0.5) / scale - 0.5
        for j in range(math.floor(place) - 1, math.floor(place) + 3):
            d = abs(place - j)
            weight = 1.25 * d**3 - 2.25 * d**2 + 1 if d <= 1 else -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
            yield min(max(j, 0), 36), weight

    grid = embeddings[0, 1:].reshape(37, 37, -1).astype(np.float64)
    return np.array(
        [
            sum(a * b * grid[y, x] for y, a in taps(p, (rows + 0.1) / 37) for x, b in taps(q, (columns + 0.1) / 37))
            for p in range(rows)
            for q in range(columns)
        ]
    )


@pytest.mark.parametrize("size", [(4, 6), (37, 3), (40, 2)])
def test_position_embeddings_for_any_number_of_patches(size):
    embeddings = np.random.default_rng(0).normal(size=(1, 1370, 2)).astype(np.float32)
    got = np.asarray(dinov2.interpolated(jnp.asarray(embeddings), *size))
    assert got.shape == (1, 1 + size[0] * size[1], 2)
    np.testing.assert_array_equal(got[0, 0], embeddings[0, 0])
    np.testing.assert_allclose(got[0, 1:], cubic(embeddings, *size), atol=1e-5)


def test_position_embeddings_at_their_own_size_are_as_they_are():
    embeddings = jnp.ones((1, 1370, 2))
    assert dinov2.interpolated(embeddings, 37, 37) is embeddings


def test_layer_normalisation_is_by_position():
    x = np.random.default_rng(0).normal(3, 2, (2, 3, 8)).astype(np.float32)
    got = LayerNorm(8, rngs=nnx.Rngs(0))(jnp.asarray(x))
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    np.testing.assert_allclose(got, (x - mean) / np.sqrt(var + 1e-6), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "depth", "taken"),
    [
        ("dinov2_base", 1.0, (2, 5, 8, 11)),
        ("dinov2_large", 1.0, (4, 11, 17, 23)),
        ("dinov2_large", 0.34, (1, 3, 5, 7)),
        ("dinov2_small", 0.01, (0, 1, 2, 3)),
    ],
)
def test_features_are_taken_at_the_same_shares_of_the_depth(name, depth, taken):
    trunk = nnx.eval_shape(lambda: DINOv2(name, rngs=nnx.Rngs(0), width=0.01, depth=depth))
    assert trunk.taken == taken and len(trunk.blocks) == taken[-1] + 1


def test_an_unknown_name_lists_the_known():
    with pytest.raises(CsstError, match=f"unknown backbone 'vit'; of DINOv2 there are: {', '.join(ARCHITECTURES)}"):
        DINOv2("vit", rngs=nnx.Rngs(0))
