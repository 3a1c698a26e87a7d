"""DINOv2's vision transformers ViT-S/14, B/14 and L/14 (Oquab et al., arXiv:2304.07193), without registers.

Source: facebookresearch/dinov2, `dinov2/models/vision_transformer.py`, whose names ours are. Pre-normalised blocks with
layer scale. Position embeddings are those of 37x37 patches (518 px), interpolated to the image's patches. Drop path is
0, as in UniMatch V2, which fine-tunes them; so there is none here. The token that stands for masked patches is used in
pretraining only and is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones import vit
from csst_jax.models.backbones.vit import HEAD_CHANNELS, Architecture, Block, PatchEmbed
from csst_jax.models.layers import LayerNorm
from csst_jax.models.ops.resize import bicubic_matrix
from csst_jax.models.ops.rows import shared_along

if TYPE_CHECKING:
    from jax.typing import DTypeLike

_PATCH = 14
_GRID = 37  # patches a side that the position embeddings are for
_OFFSET = 0.1  # DINOv2 adds it to the number of patches when it scales the embeddings

ARCHITECTURES = {
    "dinov2_small": Architecture(6, (2, 5, 8, 11)),
    "dinov2_base": Architecture(12, (2, 5, 8, 11)),
    "dinov2_large": Architecture(16, (4, 11, 17, 23)),
}
"""By name, with the blocks that UniMatch V2 takes."""


class DINOv2(nnx.Module):
    """Patches and a class token with position embeddings, blocks, and one normalisation for all features."""

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
        architecture = vit.architecture(ARCHITECTURES, name, "DINOv2").scaled(width, depth)
        heads = architecture.heads
        self.taken, self.channels, self.dtype = architecture.taken, heads * HEAD_CHANNELS, dtype
        self.patch_embed = PatchEmbed(_PATCH, self.channels, rngs=rngs, dtype=dtype)
        self.cls_token = nnx.Param(1e-6 * jax.random.normal(rngs.params(), (1, 1, self.channels), jnp.float32))
        shape = (1, 1 + _GRID**2, self.channels)
        self.pos_embed = nnx.Param(vit.STD * jax.random.normal(rngs.params(), shape, jnp.float32))
        # Layer scales are 1 at first, as in UniMatch V2.
        self.blocks = nnx.List([Block(heads, rngs=rngs, dtype=dtype) for _ in range(self.taken[-1] + 1)])
        self.norm = LayerNorm(self.channels, rngs=rngs)

    def __call__(self, images: Float[Array, "b h w 3"]) -> list[Float[Array, "b p q c"]]:
        """Four maps of features at stride 14, normalised, from the first to the last. Sides are multiples of 14."""
        b, rows, columns = images.shape[0], images.shape[1] // _PATCH, images.shape[2] // _PATCH
        first = jnp.broadcast_to(self.cls_token[...].astype(self.dtype), (b, 1, self.channels))
        x = jnp.concatenate([first, self.patch_embed(images)], axis=1)
        x = shared_along(x + interpolated(self.pos_embed[...], rows, columns).astype(self.dtype), None)
        return vit.maps(x, self.blocks, self.norm, self.taken, (rows, columns))


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
