"""DINOv3's vision transformers ViT-S/16, B/16 and L/16 (Siméoni et al., arXiv:2508.10104).

Facts are the paper's, timm's (`vit_*_patch16_dinov3`, whose numbers tests/parity compares) and
facebookresearch/dinov3's; their code is not here. It differs from DINOv2 in these things. Patches have 16 pixels a
side. Four register tokens stand behind the class token. Positions are not learned: queries and keys of patches are
rotated by their places. Keys have no bias. Initial layer scales are 1e-5, and normalisations have an epsilon of 1e-5.
The token that stands for masked patches, and the random changes of places, are used in pretraining only and are left
out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones import vit
from csst_jax.models.backbones.vit import HEAD_CHANNELS, Architecture, Block, PatchEmbed
from csst_jax.models.layers import LayerNorm
from csst_jax.models.ops.rows import shared_along

if TYPE_CHECKING:
    from jax.typing import DTypeLike

_PATCH = 16
_REGISTERS = 4
_BASE = 100.0  # periods of the rotations are from 1 to nearly this, where an image's side is 2
_SCALE = 1e-5
_EPSILON = 1e-5

ARCHITECTURES = {
    "dinov3_small": Architecture(6, (2, 5, 8, 11)),
    "dinov3_base": Architecture(12, (2, 5, 8, 11)),
    "dinov3_large": Architecture(16, (4, 11, 17, 23)),
}
"""By name, with the blocks that UniMatch V2 takes of DINOv2, which DINOv3's own dense evaluations take as well."""


class QueryKeyValue(nnx.Module):
    """The linear layer that makes queries, keys and values: keys have no bias.

    With rotations, a bias of the keys would change what attention sees. DINOv3's release has an entry for it, which
    its forward pass multiplies by zero. So there is none here that training could move.
    """

    def __init__(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs, init_std: float, dtype: DTypeLike):
        shape = (in_channels, out_channels)
        self.kernel = nnx.Param(init_std * jax.random.normal(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros((out_channels // 3 * 2,), jnp.float32))  # of queries, then of values
        self.dtype = dtype

    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n o"]:
        """Input in any float dtype; queries, keys and values behind one another, in the compute dtype."""
        y = jnp.matmul(x.astype(self.dtype), self.kernel[...].astype(self.dtype))
        bias = self.bias[...].astype(self.dtype)
        third = bias.shape[0] // 2
        return y + jnp.concatenate([bias[:third], jnp.zeros((third,), self.dtype), bias[third:]])


class DINOv3(nnx.Module):
    """Patches, a class token and registers, blocks with rotations, and one normalisation for all features."""

    patch: ClassVar[int] = _PATCH

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
        architecture = vit.architecture(ARCHITECTURES, name, "DINOv3").scaled(width, depth)
        heads = architecture.heads
        self.taken, self.channels, self.dtype = architecture.taken, heads * HEAD_CHANNELS, dtype
        self.patch_embed = PatchEmbed(_PATCH, self.channels, rngs=rngs, dtype=dtype)

        def tokens(count: int) -> nnx.Param:
            return nnx.Param(vit.STD * jax.random.normal(rngs.params(), (1, count, self.channels), jnp.float32))

        self.cls_token, self.storage_tokens = tokens(1), tokens(_REGISTERS)
        self.blocks = nnx.List(
            [
                Block(heads, rngs=rngs, dtype=dtype, scale=_SCALE, epsilon=_EPSILON, linear=QueryKeyValue)
                for _ in range(self.taken[-1] + 1)
            ]
        )
        self.norm = LayerNorm(self.channels, rngs=rngs, epsilon=_EPSILON)

    def __call__(self, images: Float[Array, "b h w 3"]) -> list[Float[Array, "b p q c"]]:
        """Four maps of features at stride 16, normalised, from the first to the last. Sides are multiples of 16."""
        b, rows, columns = images.shape[0], images.shape[1] // _PATCH, images.shape[2] // _PATCH
        first = jnp.concatenate([self.cls_token[...], self.storage_tokens[...]], axis=1).astype(self.dtype)
        first = jnp.broadcast_to(first, (b, 1 + _REGISTERS, self.channels))
        x = shared_along(jnp.concatenate([first, self.patch_embed(images)], axis=1), None)
        rotation = jax.tree.map(jnp.asarray, angles(rows, columns))
        return vit.maps(x, self.blocks, self.norm, self.taken, (rows, columns), rotation)


def angles(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine by which the tokens of `rows` x `columns` patches are rotated, float32 [5 + patches, 32].

    A patch's place is its centre's, from -1 to 1 along each side of the image, whatever the side's length. Its first 16
    angles are by row, the others by column: 2 pi times the place over a period of 100^(i / 16). The class token and the
    registers have no place and are not rotated. All is in float64 and rounded at the end. (The release's files hold
    periods that are rounded to bfloat16: with random weights that moved features by 7e-4 of the largest.)
    """
    periods = _BASE ** (np.arange(16) / 16)
    down, across = (2.0 * (np.arange(count) + 0.5) / count - 1.0 for count in (rows, columns))
    places = np.stack(np.meshgrid(down, across, indexing="ij"), axis=-1).reshape(rows * columns, 2, 1)
    turned = (2.0 * math.pi * places / periods).reshape(rows * columns, 32)
    whole = np.concatenate([np.zeros((1 + _REGISTERS, 32)), turned])
    return np.sin(whole).astype(np.float32), np.cos(whole).astype(np.float32)
