"""Pyramid pooling (Zhao et al., PSPNet, arXiv:1612.01105, §3.2): averages over grids of bins, seen at every pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.layers import Conv, ConvBN
from csst_jax.models.ops.pooling import adaptive_average_pool
from csst_jax.models.ops.resize import resize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jax.typing import DTypeLike

BINS = (1, 2, 3, 6)
"""Bins a side of PSPNet's four grids."""


def pyramid(
    x: Float[Array, "b h w c"],
    bins: Sequence[int],
    branches: Iterable[Callable[[Array], Array]],
    align_corners: bool,
) -> list[Float[Array, "b h w _"]]:
    """Averages over each grid of bins, through its branch, at the input's size."""
    size = (x.shape[1], x.shape[2])
    pooled = [branch(adaptive_average_pool(x, n)) for n, branch in zip(bins, branches, strict=True)]
    return [resize(y, size, align_corners) for y in pooled]


class PyramidPooling(nnx.Module):
    """One branch a grid: average over its bins, 1x1 convolution, ReLU, bilinear resizing to the input's size.

    Attributes (which import rules name):
      convs: list of the branches' convolutions in the order of `bins`, each a `ConvBN` (the ReLU follows outside), or,
        see `norm_single`, a `Conv`.
      out_channels: channels of the result.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        rngs: nnx.Rngs,
        bins: Sequence[int] = BINS,
        align_corners: bool = True,
        input_first: bool = True,
        norm_single: bool = True,
        dtype: DTypeLike = jnp.float32,
    ):
        """Builds the branches.

        Args:
          in_channels: of the input.
          channels: of each branch: a quarter of `in_channels` in PSPNet, 512 in mmsegmentation.
          rngs: where initial weights are drawn from.
          bins: bins a side, one number a branch.
          align_corners: convention of the resizing.
          input_first: whether the input comes first in the concatenation (all but smp), or last.
          norm_single: whether the branch with one bin has batch normalisation; in smp it has a bias instead.
          dtype: compute dtype of the convolutions.
        """
        self.convs: nnx.List = nnx.List([])
        for n in bins:
            self.convs.append(
                ConvBN(in_channels, channels, rngs=rngs, relu=False, dtype=dtype)
                if norm_single or n > 1
                else Conv(in_channels, channels, 1, rngs=rngs, bias=True, dtype=dtype)
            )
        self.bins = tuple(bins)
        self.align_corners, self.input_first = align_corners, input_first
        self.out_channels = in_channels + len(self.bins) * channels

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
        """Features of the input's size and dtype that know the whole image."""
        convs = [lambda y, conv=conv: jax.nn.relu(conv(y)).astype(x.dtype) for conv in self.convs]
        branches = pyramid(x, self.bins, convs, self.align_corners)
        return jnp.concatenate([x, *branches] if self.input_first else [*branches, x], axis=-1)
