"""HRNetV2-W48 (Wang et al., 2020): branches at strides 4, 8, 16 and 32 that exchange features all along.

Names follow HRNet-Semantic-Segmentation (`stage3.0.branches.1.2.conv1`), except that a convolution and its batch
normalisation outside of residual blocks are a `ConvBN`: `transition1.0.conv` and not `transition1.0.0`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones.resnet import Architecture, Block, expansion, scaled
from csst_jax.models.layers import BatchNorm, Conv, ConvBN
from csst_jax.models.ops.resize import resize

if TYPE_CHECKING:
    from jax.typing import DTypeLike

_BOTTLENECK = Architecture((4, 0, 0, 0))
_BASIC = Architecture((0, 0, 0, 0), bottleneck=False)
_STEM_CHANNELS = 64
_BRANCH_CHANNELS = (48, 96, 192, 384)
_STAGE_MODULES = (1, 4, 3)
_BLOCKS_IN_BRANCH = 4

_Features = list[Float[Array, "b _ _ _"]]


class ExchangeModule(nnx.Module):
    """Residual blocks on every branch, then each branch becomes the sum of all, brought to its size and channels."""

    def __init__(
        self,
        channels: tuple[int, ...],
        blocks: int,
        *,
        rngs: nnx.Rngs,
        align_corners: bool,
        upsample_in_two_steps: bool,
        dtype: DTypeLike,
    ):
        self.branches = nnx.List(
            [nnx.List([_block(c, c, _BASIC, rngs, dtype) for _ in range(blocks)]) for c in channels]
        )
        self.fuse_layers = nnx.List(
            [
                nnx.List([_path(channels, source, target, rngs, dtype) for source in range(len(channels))])
                for target in range(len(channels))
            ]
        )
        self.align_corners, self.upsample_in_two_steps = align_corners, upsample_in_two_steps

    def __call__(self, branches: _Features) -> _Features:
        """As many branches as come in, of the same shapes; finest first."""
        branches = [_chain(blocks, x) for blocks, x in zip(self.branches, branches, strict=True)]
        return [jax.nn.relu(self._gather(target, branches)) for target in range(len(branches))]

    def _gather(self, target: int, branches: _Features) -> Float[Array, "b h w c"]:
        terms = []
        paths: Any = self.fuse_layers[target]
        for source, (path, x) in enumerate(zip(paths, branches, strict=True)):
            if source < target:
                x = _chain(path, x)
            elif source > target:
                x = self._upsample(path(x), 2 ** (source - target), branches[target].shape[1:3])
            terms.append(x)
        return functools.reduce(jnp.add, terms)

    def _upsample(self, x: Float[Array, "b h w c"], factor: int, size: tuple[int, ...]) -> Float[Array, "b p q c"]:
        if self.upsample_in_two_steps:
            x = resize(x, (factor * x.shape[1], factor * x.shape[2]), self.align_corners)
        return resize(x, (size[0], size[1]), self.align_corners)


class HRNet(nnx.Module):
    """HRNetV2-W48 without a classifier: 65,325,120 parameters.

    Attributes:
      channels: of the branches, by the names under which `__call__` returns them.
    """

    def __init__(
        self,
        *,
        rngs: nnx.Rngs,
        align_corners: bool = True,
        upsample_in_two_steps: bool = False,
        width: float = 1.0,
        depth: float = 1.0,
        dtype: DTypeLike = jnp.float32,
    ):
        """Builds the trunk.

        Args:
          rngs: where initial weights are drawn from.
          align_corners: of the upsampling between branches. HRNet-Semantic-Segmentation's OCR configurations have it
            true; its plain HRNetV2 configurations and mmsegmentation have it false.
          upsample_in_two_steps: upsample by the ratio of the strides first, and to the branch's size then, as
            mmsegmentation does. The same unless the input's size is no multiple of 32.
          width: channel multiplier, for tests.
          depth: multiplier of the blocks in a branch and of the modules in a stage, for tests.
          dtype: compute dtype.
        """
        stem = scaled(_STEM_CHANNELS, width)
        self.conv1 = Conv(3, stem, 3, rngs=rngs, stride=2, padding=1, dtype=dtype)
        self.bn1 = BatchNorm(stem, rngs=rngs)
        self.conv2 = Conv(stem, stem, 3, rngs=rngs, stride=2, padding=1, dtype=dtype)
        self.bn2 = BatchNorm(stem, rngs=rngs)
        blocks = max(1, round(_BLOCKS_IN_BRANCH * depth))
        wide = stem * expansion(_BOTTLENECK)
        self.layer1 = nnx.List(
            [_block(stem if i == 0 else wide, stem, _BOTTLENECK, rngs, dtype) for i in range(blocks)]
        )
        all_channels = tuple(scaled(channels, width) for channels in _BRANCH_CHANNELS)
        stages, transitions = [], []
        before: tuple[int, ...] = (wide,)
        for stage, modules in enumerate(_STAGE_MODULES):
            channels = all_channels[: stage + 2]
            transitions.append(_transition(before, channels, rngs, dtype))
            stages.append(
                nnx.List(
                    [
                        ExchangeModule(
                            channels,
                            blocks,
                            rngs=rngs,
                            align_corners=align_corners,
                            upsample_in_two_steps=upsample_in_two_steps,
                            dtype=dtype,
                        )
                        for _ in range(max(1, round(modules * depth)))
                    ]
                )
            )
            before = channels
        self.transition1, self.transition2, self.transition3 = transitions
        self.stage2, self.stage3, self.stage4 = stages
        self.channels = {f"stride{4 * 2**i}": channels for i, channels in enumerate(all_channels)}

    def __call__(self, x: Float[Array, "b h w 3"]) -> dict[str, Float[Array, "b _ _ _"]]:
        """The four branches: "stride4", "stride8", "stride16", "stride32"."""
        x = self.bn1(self.conv1(x), relu=True)
        x = self.bn2(self.conv2(x), relu=True)
        branches = [_chain(self.layer1, x)]
        for transition, stage in (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            branches = _extend(transition, branches)
            for module in stage:
                branches = module(branches)
        return dict(zip(self.channels, branches, strict=True))


def concatenate_branches(branches: dict[str, Float[Array, "b _ _ _"]], align_corners: bool) -> Float[Array, "b h w c"]:
    """HRNetV2's representation: all branches at stride 4, finest first."""
    finest, *coarser = (branches[name] for name in ("stride4", "stride8", "stride16", "stride32"))
    size = (finest.shape[1], finest.shape[2])
    return jnp.concatenate([finest, *(resize(x, size, align_corners) for x in coarser)], -1)


def _block(inside: int, planes: int, architecture: Architecture, rngs: nnx.Rngs, dtype: DTypeLike) -> Block:
    return Block(inside, planes, architecture, rngs=rngs, stride=1, dilation=1, stride_in_1x1=False, dtype=dtype)


def _path(
    channels: tuple[int, ...], source: int, target: int, rngs: nnx.Rngs, dtype: DTypeLike
) -> ConvBN | nnx.List | None:
    """What brings a branch to another's channels: strided convolutions down, a 1x1 one up, nothing to itself."""
    if source == target:
        return None
    if source > target:
        return ConvBN(channels[source], channels[target], rngs=rngs, relu=False, dtype=dtype)
    steps = []
    for at in range(source + 1, target + 1):
        last = at == target
        out = channels[target if last else source]
        steps.append(ConvBN(channels[source], out, 3, rngs=rngs, stride=2, relu=not last, dtype=dtype))
    return nnx.List(steps)


def _transition(before: tuple[int, ...], channels: tuple[int, ...], rngs: nnx.Rngs, dtype: DTypeLike) -> nnx.List:
    """One entry a branch: a 3x3 convolution where channels change, None where not, a strided one for the new branch."""
    entries: list[nnx.Module | None] = []
    for i, out in enumerate(channels):
        if i >= len(before):
            entries.append(nnx.List([ConvBN(before[-1], out, 3, rngs=rngs, stride=2, dtype=dtype)]))
        else:
            entries.append(None if before[i] == out else ConvBN(before[i], out, 3, rngs=rngs, dtype=dtype))
    return nnx.List(entries)


def _extend(transition: nnx.List, branches: _Features) -> _Features:
    out = []
    for i, entry in enumerate(transition):
        if i >= len(branches):
            out.append(_chain(entry, branches[-1]))
        else:
            out.append(branches[i] if entry is None else entry(branches[i]))
    return out


def _chain(modules: nnx.List, x: Float[Array, "b _ _ _"]) -> Float[Array, "b _ _ _"]:
    for module in modules:
        x = module(x)
    return x
