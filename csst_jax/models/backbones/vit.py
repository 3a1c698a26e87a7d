"""What DINOv2's and DINOv3's vision transformers share: patches, attention, MLPs and blocks (arXiv:2010.11929).

Blocks normalise before attention and MLP and scale behind them. Names are those of DINOv2's release.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.layers import LayerNorm, Linear, fan_in_std
from csst_jax.models.ops.rows import shared_along
from csst_jax.models.rematerialisation import may_rematerialise
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jax.typing import DTypeLike

HEAD_CHANNELS = 64
"""Channels of a head of attention, in every size."""

STD = 0.02
"""Deviation of initial weights."""

_HIDDEN = 4  # units of the MLP for each channel

Rotation = tuple[Float[Array, "n 32"], Float[Array, "n 32"]]
"""Sine and cosine of each token's angles, float32: one for each pair of a head's channels."""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """One size.

    Attributes:
      heads: of attention, with 64 channels each.
      taken: the blocks whose outputs are the features, counted from 0; the last is the trunk's last.
    """

    heads: int
    taken: tuple[int, int, int, int]

    def scaled(self, width: float, depth: float) -> Architecture:
        """With `width` times the heads and `depth` times the blocks, of which four at least stay: for tests."""
        taken: list[int] = []
        for block in self.taken:
            taken.append(max(round((block + 1) * depth) - 1, taken[-1] + 1 if taken else 0))
        return Architecture(max(1, round(self.heads * width)), (taken[0], taken[1], taken[2], taken[3]))


def architecture(known: Mapping[str, Architecture], name: str, family: str) -> Architecture:
    """The one of a name.

    Raises:
      CsstError: unknown name; lists those of the family.
    """
    if name not in known:
        raise CsstError(f"unknown backbone {name!r}; of {family} there are: {', '.join(known)}.")
    return known[name]


def gelu(x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
    """The exact one, by the error function; computed in float32, of the input's dtype."""
    y = x.astype(jnp.float32)
    return (0.5 * y * (1.0 + jax.lax.erf(y * math.sqrt(0.5)))).astype(x.dtype)


def rotated(x: Float[Array, "b heads n 64"], rotation: Rotation) -> Float[Array, "b heads n 64"]:
    """Channels i and 32 + i turned together by the token's i-th angle (Su et al., arXiv:2104.09864).

    Computed in float32, of the input's dtype.
    """
    sine, cosine = rotation
    y, half = x.astype(jnp.float32), HEAD_CHANNELS // 2
    first, second = y[..., :half], y[..., half:]
    turned = (first * cosine - second * sine, second * cosine + first * sine)
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


class PatchEmbed(nnx.Module):
    """A linear map of each patch: `patch_embed.proj` of the references, a convolution of that stride there."""

    def __init__(self, patch: int, channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        shape = (patch, patch, 3, channels)
        std = fan_in_std(3, patch, gain=1 / 3)  # PyTorch's default
        self.kernel = nnx.Param(std * jax.random.normal(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros((channels,), jnp.float32))
        self.patch, self.dtype = patch, dtype

    def __call__(self, images: Float[Array, "b h w 3"]) -> Float[Array, "b n c"]:
        """One token a patch, row by row, in the compute dtype. Sides are multiples of the patch's."""
        b, height, width, _ = images.shape
        side = self.patch
        rows, columns = height // side, width // side
        x = images.astype(self.dtype).reshape(b, rows, side, columns, side * 3)
        x = jnp.transpose(x, (0, 1, 3, 2, 4)).reshape(b, rows * columns, side * side * 3)
        kernel = self.kernel[...].astype(self.dtype).reshape(side * side * 3, -1)
        return jnp.matmul(shared_along(x, None), kernel) + self.bias[...].astype(self.dtype)


class Attention(nnx.Module):
    """Self-attention of all tokens to all. Devices along `spatial` share the heads.

    `linear` is the class of the layer that makes queries, keys and values.
    """

    def __init__(self, heads: int, *, rngs: nnx.Rngs, dtype: DTypeLike, linear: Callable[..., nnx.Module] = Linear):
        channels = heads * HEAD_CHANNELS
        self.qkv = linear(channels, 3 * channels, rngs=rngs, init_std=STD, dtype=dtype)
        self.proj = Linear(channels, channels, rngs=rngs, init_std=STD, dtype=dtype)
        self.heads = heads

    def __call__(self, x: Float[Array, "b n c"], rotation: Rotation | None = None) -> Float[Array, "b n c"]:
        """Of the compute dtype; the softmax is float32. With a rotation, queries and keys are turned by it."""
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, HEAD_CHANNELS)
        query, key, value = (shared_along(jnp.moveaxis(qkv[:, :, i], 1, 2), 1) for i in range(3))  # b heads n 64
        if rotation is not None:
            query, key = rotated(query, rotation), rotated(key, rotation)
        scores = jnp.einsum("bhqd,bhkd->bhqk", query * HEAD_CHANNELS**-0.5, key)
        weights = jax.nn.softmax(scores.astype(jnp.float32), axis=-1).astype(value.dtype)
        y = shared_along(jnp.einsum("bhqk,bhkd->bhqd", weights, value), 1)
        return self.proj(jnp.moveaxis(y, 1, 2).reshape(b, n, c))


class MLP(nnx.Module):
    """Two linear layers with GELU between them. Devices along `spatial` share the hidden units."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.fc1 = Linear(channels, _HIDDEN * channels, rngs=rngs, init_std=STD, dtype=dtype)
        self.fc2 = Linear(_HIDDEN * channels, channels, rngs=rngs, init_std=STD, dtype=dtype)

    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        """Of the compute dtype."""
        return self.fc2(gelu(shared_along(self.fc1(x), 2)))


class LayerScale(nnx.Module):
    """A factor for each channel of a residual (Touvron et al., arXiv:2103.17239), `initial` at first."""

    def __init__(self, channels: int, initial: float):
        self.gamma = nnx.Param(jnp.full((channels,), initial, jnp.float32))

    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        """Of the input's dtype."""
        return x * self.gamma[...].astype(x.dtype)


class Block(nnx.Module):
    """Attention and MLP, each normalised before, scaled behind, and added to its input."""

    def __init__(
        self,
        heads: int,
        *,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
        scale: float = 1.0,
        epsilon: float = 1e-6,
        linear: Callable[..., nnx.Module] = Linear,
    ):
        """Builds the block.

        Args:
          heads: of attention, with 64 channels each.
          rngs: where initial weights are drawn from.
          dtype: compute dtype.
          scale: initial factor of the layer scales.
          epsilon: of the normalisations.
          linear: class of the layer that makes queries, keys and values.
        """
        channels = heads * HEAD_CHANNELS
        self.norm1 = LayerNorm(channels, rngs=rngs, epsilon=epsilon)
        self.attn = Attention(heads, rngs=rngs, dtype=dtype, linear=linear)
        self.ls1 = LayerScale(channels, scale)
        self.norm2 = LayerNorm(channels, rngs=rngs, epsilon=epsilon)
        self.mlp = MLP(channels, rngs=rngs, dtype=dtype)
        self.ls2 = LayerScale(channels, scale)
        self.remat = False

    @may_rematerialise
    def __call__(self, x: Float[Array, "b n c"], rotation: Rotation | None = None) -> Float[Array, "b n c"]:
        """Of the compute dtype."""
        x = shared_along(x + self.ls1(self.attn(self.norm1(x), rotation)), None)
        return shared_along(x + self.ls2(self.mlp(self.norm2(x))), None)


def maps(
    x: Float[Array, "b n c"],
    blocks: Iterable[Block],
    norm: LayerNorm,
    taken: tuple[int, ...],
    size: tuple[int, int],
    rotation: Rotation | None = None,
) -> list[Float[Array, "b p q c"]]:
    """The taken blocks' outputs, normalised, as maps of `size` (rows, columns) patches; of the compute dtype.

    The last tokens are the patches, row by row. Those before them are in no map.
    """
    rows, columns = size
    features = []
    for number, block in enumerate(blocks):
        x = block(x, rotation)
        if number in taken:
            patches = norm(x)[:, x.shape[1] - rows * columns :]
            features.append(patches.reshape(x.shape[0], rows, columns, x.shape[2]))
    return features
