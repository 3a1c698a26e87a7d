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
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax.typing import DTypeLike

COMBINE = ("concat", "sum")
"""How branches and input meet: concatenated (PSPNet), or added up (the original ICNet)."""


class PyramidPooling(nnx.Module):
    """One branch a grid: average over its bins, 1x1 convolution, ReLU, bilinear resizing to the input's size.

    Attributes (which import rules name):
      convs: list of the branches' convolutions in the order of `bins`, each a `ConvBN` (the ReLU follows outside), or,
        see `norm_single`, a `Conv`; empty without convolutions.
      out_channels: channels of the result.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int | None,
        *,
        rngs: nnx.Rngs,
        bins: Sequence[int] = (1, 2, 3, 6),
        combine: str = "concat",
        align_corners: bool = True,
        input_first: bool = True,
        norm_single: bool = True,
        dtype: DTypeLike = jnp.float32,
    ):
        """Builds the branches.

        Args:
          in_channels: of the input.
          channels: of each branch: a quarter of `in_channels` in PSPNet, 512 in mmsegmentation. None: branches have no
            convolution, as in the original ICNet.
          rngs: where initial weights are drawn from.
          bins: bins a side, one number a branch.
          combine: one of `COMBINE`.
          align_corners: convention of the resizing.
          input_first: whether the input comes first in the concatenation (all but smp), or last.
          norm_single: whether the branch with one bin has batch normalisation; in smp it has a bias instead.
          dtype: compute dtype of the convolutions.

        Raises:
          CsstError: unknown `combine`, or a sum of different numbers of channels.
        """
        if combine not in COMBINE:
            raise CsstError(f"unknown way {combine!r} to combine a pyramid; known are: {', '.join(COMBINE)}.")
        if combine == "sum" and channels not in (None, in_channels):
            raise CsstError(f"a pyramid's sum needs branches of {in_channels} channels, not {channels}.")
        self.convs: nnx.List = nnx.List([])
        if channels is not None:
            for n in bins:
                self.convs.append(
                    ConvBN(in_channels, channels, rngs=rngs, relu=False, dtype=dtype)
                    if norm_single or n > 1
                    else Conv(in_channels, channels, 1, rngs=rngs, bias=True, dtype=dtype)
                )
        self.bins, self.combine = tuple(bins), combine
        self.align_corners, self.input_first = align_corners, input_first
        branch = in_channels if channels is None else channels
        self.out_channels = in_channels + len(self.bins) * branch if combine == "concat" else in_channels

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
        """Features of the input's size and dtype that know the whole image."""
        size = (x.shape[1], x.shape[2])
        branches = []
        for i, n in enumerate(self.bins):
            y = adaptive_average_pool(x, n)
            if self.convs:
                y = jax.nn.relu(self.convs[i](y)).astype(x.dtype)
            branches.append(resize(y, size, self.align_corners))
        if self.combine == "sum":
            return sum(branches, x)
        return jnp.concatenate([x, *branches] if self.input_first else [*branches, x], axis=-1)
