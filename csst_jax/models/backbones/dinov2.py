"""DINOv2's vision transformers ViT-S/14, B/14 and L/14 (Oquab et al., arXiv:2304.07193), without registers.

Source: facebookresearch/dinov2, `dinov2/models/vision_transformer.py`, whose names ours are. Pre-normalised blocks with
layer scale. Position embeddings are those of 37x37 patches (518 px), interpolated to the image's patches. Drop path is
0, as in UniMatch V2, which fine-tunes them; so there is none here. The token that stands for masked patches is used in
pretraining only and is left out.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.layers import LayerNorm, Linear, fan_in_std
from csst_jax.models.ops.resize import bicubic_matrix
from csst_jax.models.ops.rows import shared_along
from csst_jax.models.rematerialisation import may_rematerialise
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from jax.typing import DTypeLike

PATCH = 14
"""Side of a patch in pixels."""

_GRID = 37  # patches a side that the position embeddings are for
_OFFSET = 0.1  # DINOv2 adds it to the number of patches when it scales the embeddings
_HEAD_CHANNELS = 64
_HIDDEN = 4  # units of the MLP for each channel
_STD = 0.02


@dataclasses.dataclass(frozen=True)
class Architecture:
    """One size.

    Attributes:
      heads: of attention, with 64 channels each.
      taken: the blocks whose outputs are the features, counted from 0; the last is the trunk's last.
    """

    heads: int
    taken: tuple[int, int, int, int]


ARCHITECTURES = {
    "dinov2_small": Architecture(6, (2, 5, 8, 11)),
    "dinov2_base": Architecture(12, (2, 5, 8, 11)),
    "dinov2_large": Architecture(16, (4, 11, 17, 23)),
}
"""By name, with the blocks that UniMatch V2 takes."""


def gelu(x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
    """The exact one, by the error function; computed in float32, of the input's dtype."""
    y = x.astype(jnp.float32)
    return (0.5 * y * (1.0 + jax.lax.erf(y * math.sqrt(0.5)))).astype(x.dtype)


class PatchEmbed(nnx.Module):
    """A linear map of each patch: `proj` of DINOv2's `patch_embed`, a convolution with stride 14 there."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        shape = (PATCH, PATCH, 3, channels)
        std = fan_in_std(3, PATCH, gain=1 / 3)  # PyTorch's default
        self.kernel = nnx.Param(std * jax.random.normal(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros((channels,), jnp.float32))
        self.dtype = dtype

    def __call__(self, images: Float[Array, "b h w 3"]) -> Float[Array, "b n c"]:
        """One token a patch, row by row, in the compute dtype. Sides are multiples of 14."""
        b, height, width, _ = images.shape
        rows, columns = height // PATCH, width // PATCH
        x = images.astype(self.dtype).reshape(b, rows, PATCH, columns, PATCH * 3)
        x = jnp.transpose(x, (0, 1, 3, 2, 4)).reshape(b, rows * columns, PATCH * PATCH * 3)
        kernel = self.kernel[...].astype(self.dtype).reshape(PATCH * PATCH * 3, -1)
        return jnp.matmul(shared_along(x, None), kernel) + self.bias[...].astype(self.dtype)


class Attention(nnx.Module):
    """Self-attention of all tokens to all. Devices along `spatial` share the heads."""

    def __init__(self, heads: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        channels = heads * _HEAD_CHANNELS
        self.qkv = Linear(channels, 3 * channels, rngs=rngs, init_std=_STD, dtype=dtype)
        self.proj = Linear(channels, channels, rngs=rngs, init_std=_STD, dtype=dtype)
        self.heads = heads

    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        """Of the compute dtype; the softmax is float32."""
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, _HEAD_CHANNELS)
        query, key, value = (shared_along(jnp.moveaxis(qkv[:, :, i], 1, 2), 1) for i in range(3))  # b heads n 64
        scores = jnp.einsum("bhqd,bhkd->bhqk", query * _HEAD_CHANNELS**-0.5, key)
        weights = jax.nn.softmax(scores.astype(jnp.float32), axis=-1).astype(value.dtype)
        y = shared_along(jnp.einsum("bhqk,bhkd->bhqd", weights, value), 1)
        return self.proj(jnp.moveaxis(y, 1, 2).reshape(b, n, c))


class MLP(nnx.Module):
    """Two linear layers with GELU between them. Devices along `spatial` share the hidden units."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.fc1 = Linear(channels, _HIDDEN * channels, rngs=rngs, init_std=_STD, dtype=dtype)
        self.fc2 = Linear(_HIDDEN * channels, channels, rngs=rngs, init_std=_STD, dtype=dtype)

    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        """Of the compute dtype."""
        return self.fc2(gelu(shared_along(self.fc1(x), 2)))


class LayerScale(nnx.Module):
    """A factor for each channel of a residual (Touvron et al., arXiv:2103.17239), 1 at first as in UniMatch V2."""

    def __init__(self, channels: int):
        self.gamma = nnx.Param(jnp.ones((channels,), jnp.float32))

    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        """Of the input's dtype."""
        return x * self.gamma[...].astype(x.dtype)


class Block(nnx.Module):
    """Attention and MLP, each normalised before, scaled behind, and added to its input."""

    def __init__(self, heads: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        channels = heads * _HEAD_CHANNELS
        self.norm1 = LayerNorm(channels, rngs=rngs)
        self.attn = Attention(heads, rngs=rngs, dtype=dtype)
        self.ls1 = LayerScale(channels)
        self.norm2 = LayerNorm(channels, rngs=rngs)
        self.mlp = MLP(channels, rngs=rngs, dtype=dtype)
        self.ls2 = LayerScale(channels)
        self.remat = False

    @may_rematerialise
    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        """Of the compute dtype."""
        x = shared_along(x + self.ls1(self.attn(self.norm1(x))), None)
        return shared_along(x + self.ls2(self.mlp(self.norm2(x))), None)


class DINOv2(nnx.Module):
    """Patches and a class token with position embeddings, blocks, and one normalisation for all features."""

    def __init__(
        self, name: str, *, rngs: nnx.Rngs, width: float = 1.0, depth: float = 1.0, dtype: DTypeLike = jnp.float32
    ):
        """Builds the trunk.

        Args:
          name: a key of `ARCHITECTURES`.
          rngs: where initial weights are drawn from.
          width: multiplier of the heads, for tests.
          depth: multiplier of the blocks, of which at least four stay, for tests.
          dtype: compute dtype.

        Raises:
          CsstError: unknown name.
        """
        if name not in ARCHITECTURES:
            raise CsstError(f"unknown backbone {name!r}; of DINOv2 there are: {', '.join(ARCHITECTURES)}.")
        architecture = ARCHITECTURES[name]
        heads = max(1, round(architecture.heads * width))
        taken: list[int] = []
        for block in architecture.taken:
            taken.append(max(round((block + 1) * depth) - 1, taken[-1] + 1 if taken else 0))
        self.taken, self.channels, self.dtype = tuple(taken), heads * _HEAD_CHANNELS, dtype
        self.patch_embed = PatchEmbed(self.channels, rngs=rngs, dtype=dtype)
        self.cls_token = nnx.Param(1e-6 * jax.random.normal(rngs.params(), (1, 1, self.channels), jnp.float32))
        shape = (1, 1 + _GRID**2, self.channels)
        self.pos_embed = nnx.Param(_STD * jax.random.normal(rngs.params(), shape, jnp.float32))
        self.blocks = nnx.List([Block(heads, rngs=rngs, dtype=dtype) for _ in range(taken[-1] + 1)])
        self.norm = LayerNorm(self.channels, rngs=rngs)

    def __call__(self, images: Float[Array, "b h w 3"]) -> list[Float[Array, "b p q c"]]:
        """Four maps of features at stride 14, normalised, from the first to the last. Sides are multiples of 14."""
        b, rows, columns = images.shape[0], images.shape[1] // PATCH, images.shape[2] // PATCH
        first = jnp.broadcast_to(self.cls_token[...].astype(self.dtype), (b, 1, self.channels))
        x = jnp.concatenate([first, self.patch_embed(images)], axis=1)
        x = shared_along(x + interpolated(self.pos_embed[...], rows, columns).astype(self.dtype), None)
        features = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.taken:
                features.append(self.norm(x)[:, 1:].reshape(b, rows, columns, self.channels))
        return features


def interpolated(embeddings: Float[Array, "1 _ c"], rows: int, columns: int) -> Float[Array, "1 _ c"]:
    """Position embeddings of the class token and 37x37 patches, for `rows` x `columns` patches; float32.

    As DINOv2's `interpolate_pos_encoding` with an offset of 0.1, which its hub and UniMatch V2 have: bicubic, by the
    number of patches plus 0.1 over 37.
    """
    if (rows, columns) == (_GRID, _GRID):
        return embeddings
    down, across = (bicubic_matrix(_GRID, n, (n + _OFFSET) / _GRID) for n in (rows, columns))
    grid = embeddings[0, 1:].reshape(_GRID, _GRID, -1)
    grid = jnp.einsum("hi,ijc->hjc", np.asarray(down), grid, precision="highest")
    grid = jnp.einsum("wj,hjc->hwc", np.asarray(across), grid, precision="highest")
    return jnp.concatenate([embeddings[:, :1], grid.reshape(1, rows * columns, -1)], axis=1)
