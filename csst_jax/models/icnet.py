"""ICNet (Zhao et al., 2018, arXiv:1704.08545), which the paper trains as gluon-cv has it (Tables 3 and 6).

Two networks share the name: the original one has half of ResNet50's channels; gluon-cv's and mmsegmentation's have all.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.backbones.resnet import ResNet, scaled
from csst_jax.models.heads.psp import BINS, pyramid
from csst_jax.models.layers import BatchNorm, Conv, ConvBN, Dropout
from csst_jax.models.ops.pooling import max_pool
from csst_jax.models.ops.resize import resize, resize_logits
from csst_jax.models.perturbation import Perturb, perturbed

if TYPE_CHECKING:
    from jax.typing import DTypeLike


@dataclasses.dataclass(frozen=True)
class Lineage:
    """Where published implementations differ.

    Attributes:
      align_corners: convention of bilinear resizing.
      odd_sizes: whether n pixels are halved to ceil(n / 2) and doubled to 2n - 1 (Caffe), or to floor(n / 2) and 2n.
      stem: key of `resnet.STEMS`.
      trunk_width: multiplier of the trunk's channels.
      stride_in_1x1: where the trunk's bottlenecks stride.
      pool_ceil: whether the trunk's pooling rounds sizes up.
      dilate_first_block: how the first block of a dilated stage is dilated.
      early_split: whether the coarse branch leaves the trunk after the second stage's first block, or after the stage.
      pyramid: "input_first" or "input_last" (in a concatenation with the pooled features, each with a convolution; 512
        channels result), or "sum" (no convolutions; 256 channels result).
      pyramid_dropout: rate for single elements behind it.
      project: whether the two coarse branches have a 1x1 convolution to 256 channels before the fusion.
      fusion_relu: whether there is a ReLU on each of the two features that a fusion adds, or on their sum alone.
      guide_unfused: whether an auxiliary classifier sees the enlarged coarse features, or their dilated convolution.
      head_conv: mmsegmentation's heads: a 3x3 convolution before the classifier; main logits at stride 8, not 4.
      classifier_bias: whether classifiers have one.
      bn_momentum: of all running statistics.
      aux_weights: of auxiliary losses; 0.4 if empty. (gluon-cv has the main one twice: at stride 4 too, with 0.4.)
    """

    align_corners: bool = True
    odd_sizes: bool = False
    stem: str = "deep"
    trunk_width: float = 1.0
    stride_in_1x1: bool = False
    pool_ceil: bool = True
    dilate_first_block: bool = False
    early_split: bool = False
    pyramid: str = "input_first"
    pyramid_dropout: float = 0.0
    project: bool = True
    fusion_relu: bool = False
    guide_unfused: bool = False
    head_conv: bool = False
    classifier_bias: bool = True
    bn_momentum: float = 0.1
    aux_weights: tuple[tuple[str, float], ...] = (("stride8", 0.4), ("stride16", 1.0))


LINEAGES = {
    "gluon": Lineage(pool_ceil=False, pyramid_dropout=0.1, classifier_bias=False),
    # Half of the 64, 64, 128 of the deep stem is the 32, 32, 64 of the published network.
    "original": Lineage(
        odd_sizes=True,
        trunk_width=0.5,
        stride_in_1x1=True,
        dilate_first_block=True,
        early_split=True,
        pyramid="sum",
        project=False,
        guide_unfused=True,
        bn_momentum=0.05,
        aux_weights=(("stride8", 0.4), ("stride16", 0.16)),
    ),
    "mmseg": Lineage(
        align_corners=False, stem="deep32", pyramid="input_last", fusion_relu=True, head_conv=True, aux_weights=()
    ),
}


def _half(x: Float[Array, "b h w c"], own: Lineage) -> Float[Array, "b p q c"]:
    h, w = ((n + own.odd_sizes) // 2 for n in x.shape[1:3])
    if not own.align_corners:
        # PyTorch, given a factor, steps by exactly 2 pixels: an odd last row is never read.
        x = x[:, : 2 * h, : 2 * w]
    return resize(x, (h, w), own.align_corners)


def _windows(size: int, bins: int) -> np.ndarray:
    """Averages over the original's overlapping windows: those its file has for 33 rows and 65 columns, at any size."""
    stride = {1: 0, 2: (size - 1) // 2, 3: (size - 1) // 6 * 2, 6: (size - 1) // 6}[bins]
    length = size - (bins - 1) * stride
    matrix = np.zeros((bins, size), np.float32)
    for i in range(bins):
        matrix[i, i * stride : i * stride + length] = 1.0 / length
    return matrix


def _window_average(x: Float[Array, "b h w c"], bins: int) -> Float[Array, "b n n c"]:
    rows, columns = _windows(x.shape[1], bins), _windows(x.shape[2], bins)
    return jnp.einsum("ih,bhwc,jw->bijc", rows, x.astype(jnp.float32), columns, precision="highest")


class PyramidPooling(nnx.Module):
    """Averages over 1, 2, 3 and 6 bins a side, joined with the input."""

    def __init__(self, in_channels: int, out_channels: int, own: Lineage, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.sum = own.pyramid == "sum"
        # gluon-cv and mmsegmentation agree for ResNet50; for ResNet18 the latter keeps the branches wide.
        branch = in_channels // 4 if own.pyramid == "input_first" else out_channels
        branches = 0 if self.sum else len(BINS)
        self.branches = nnx.List([ConvBN(in_channels, branch, rngs=rngs, dtype=dtype) for _ in range(branches)])
        inside = in_channels + branch * len(self.branches)
        self.bottleneck = ConvBN(inside, out_channels, 1 if self.sum else 3, rngs=rngs, dtype=dtype)
        self.dropout = Dropout(own.pyramid_dropout, rngs=rngs) if own.pyramid_dropout else None
        self.input_last, self.align_corners = own.pyramid == "input_last", own.align_corners

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
        """Features of the input's size that know the whole image."""
        if self.sum:
            averages = [_window_average(x, bins) for bins in BINS]
            maps = [resize(y, (x.shape[1], x.shape[2]), self.align_corners) for y in averages]
            y = sum(maps, x.astype(jnp.float32)).astype(x.dtype)
        else:
            maps = pyramid(x, BINS, self.branches, self.align_corners)
            y = jnp.concatenate([*maps, x] if self.input_last else [x, *maps], axis=-1)
        y = self.bottleneck(y)
        return y if self.dropout is None else self.dropout(y)


class CascadeFeatureFusion(nnx.Module):
    """Adds coarse features, enlarged and convolved with dilation 2, to finer ones."""

    def __init__(self, low: int, high: int, out_channels: int, own: Lineage, *, rngs: nnx.Rngs, dtype: DTypeLike):
        relu = own.fusion_relu
        self.conv_low = ConvBN(low, out_channels, 3, rngs=rngs, dilation=2, relu=relu, dtype=dtype)
        self.conv_high = ConvBN(high, out_channels, rngs=rngs, relu=relu, dtype=dtype)
        self.align_corners, self.guide_unfused = own.align_corners, own.guide_unfused

    def __call__(
        self, low: Float[Array, "b h w c"], high: Float[Array, "b p q d"]
    ) -> tuple[Float[Array, "b p q o"], Float[Array, "b p q _"]]:
        """The sum, and what the auxiliary classifier sees, both of the size of `high`."""
        enlarged = resize(low, (high.shape[1], high.shape[2]), self.align_corners)
        convolved = self.conv_low(enlarged)
        return jax.nn.relu(convolved + self.conv_high(high)), enlarged if self.guide_unfused else convolved


class Head(nnx.Module):
    """The classifier, in mmsegmentation behind a 3x3 convolution (and dropout of channels)."""

    def __init__(
        self, inside: int, num_classes: int, own: Lineage, *, rngs: nnx.Rngs, dropout: float = 0.0, dtype: DTypeLike
    ):
        self.conv_3x3 = ConvBN(inside, inside, 3, rngs=rngs, dtype=dtype) if own.head_conv else None
        self.dropout = Dropout(dropout, rngs=rngs, channels=True) if dropout else None
        bias = own.classifier_bias
        self.conv_cls = Conv(inside, num_classes, 1, rngs=rngs, bias=bias, init_std=0.01, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w k"]:
        """Logits of the input's size, float32."""
        x = x if self.conv_3x3 is None else self.conv_3x3(x)
        x = x if self.dropout is None else self.dropout(x)
        return self.conv_cls(x).astype(jnp.float32)


class ICNet(nnx.Module):
    """Branches on the image at full, half and (from within the trunk) quarter size, fused from coarse to fine."""

    def __init__(
        self,
        num_classes: int,
        *,
        rngs: nnx.Rngs,
        backbone: str = "resnet50",
        lineage: str = "gluon",
        width: float = 1.0,
        depth: float = 1.0,
        aux: bool = True,
        dtype: DTypeLike = jnp.float32,
    ):
        """ICNet: with auxiliary heads at 19 classes 47,489,184 parameters ("gluon"), 6,707,321 ("original").

        Options: `lineage` ("gluon": gluon-cv 0.10.5; "original": hszhao/ICNet `icnet_cityscapes_bnnomerge.prototxt`,
        auxiliary classifiers as in hellochick/ICNet-tensorflow; "mmseg": mmsegmentation `icnet_r50-d8`), `backbone` (of
        `resnet.ARCHITECTURES`), `width` and `depth` (multipliers), `aux` (auxiliary heads), `dtype` (compute dtype).
        """
        own = LINEAGES[lineage]
        c = functools.partial(scaled, width=width)
        self.backbone = ResNet(
            backbone,
            rngs=rngs,
            stem=own.stem,
            output_stride=8,
            dilate_first_block=own.dilate_first_block,
            stride_in_1x1=own.stride_in_1x1,
            pool_ceil=own.pool_ceil,
            width=width * own.trunk_width,
            depth=depth,
            dtype=dtype,
        )
        deep, middle = self.backbone.channels["layer4"], self.backbone.channels["layer2"]
        low = c(256 if own.pyramid == "sum" else 512)
        self.psp = PyramidPooling(deep, low, own, rngs=rngs, dtype=dtype)
        steps = ((3, c(32)), (c(32), c(32)), (c(32), c(64)))
        self.conv_sub1 = nnx.List([ConvBN(i, o, 3, rngs=rngs, stride=2, dtype=dtype) for i, o in steps])
        self.conv_sub2 = ConvBN(middle, c(256), rngs=rngs, dtype=dtype) if own.project else None
        self.conv_sub4 = ConvBN(low, c(256), rngs=rngs, dtype=dtype) if own.project else None
        if own.project:
            low = middle = c(256)
        self.cff_24 = CascadeFeatureFusion(low, middle, c(128), own, rngs=rngs, dtype=dtype)
        self.cff_12 = CascadeFeatureFusion(c(128), c(64), c(128), own, rngs=rngs, dtype=dtype)
        self.head = Head(c(128), num_classes, own, rngs=rngs, dtype=dtype)
        guides = (low if own.guide_unfused else c(128), c(128)) if aux else ()
        drop = 0.1 if own.head_conv else 0.0
        self.aux_heads = nnx.List([Head(n, num_classes, own, rngs=rngs, dropout=drop, dtype=dtype) for n in guides])
        for _, module in nnx.iter_modules(self):
            if isinstance(module, BatchNorm):
                module.momentum = own.bn_momentum
        self.own, self.aux_weights = own, own.aux_weights
        self.deterministic = False

    def __call__(self, images: Float[Array, "b h w 3"], perturb: Perturb | None = None) -> dict[str, Any]:
        """Logits (float32) at the input's size; those of the coarse branches ("stride16", "stride8") when training.

        The auxiliary logits are enlarged to the input's size, as gluon-cv and mmsegmentation do for their losses. A
        loss that guides each branch at its own size instead, as the original does, shrinks labels by nearest neighbour,
        never bilinearly.

        `features` holds the three branches before their fusion, "sub1" (about stride 8), "sub2" (16) and "sub4" (32),
        and the two fused maps "cff_24" (of the size of "sub2") and "cff_12" (of "sub1"). Halving rounds down in two
        lineages and the trunk's pooling rounds up in two, so sizes may differ from ceil(size / stride) by one.
        """
        size, sub1 = (images.shape[1], images.shape[2]), images
        for conv in self.conv_sub1:
            sub1 = conv(sub1)
        sub2, sub4 = self._coarse_branches(images)
        branches = perturbed({"sub1": sub1, "sub2": sub2, "sub4": sub4}, perturb)
        sub1, sub2, sub4 = branches["sub1"], branches["sub2"], branches["sub4"]
        if self.conv_sub2 is not None and self.conv_sub4 is not None:
            sub2, sub4 = self.conv_sub2(sub2), self.conv_sub4(sub4)
        cff_24, guide_24 = self.cff_24(sub4, sub2)
        cff_12, guide_12 = self.cff_12(cff_24, sub1)
        logits = self.head(cff_12)
        if not self.own.head_conv:
            # References enlarge the features by two, classify, and enlarge by four. Classifying first is the same (both
            # are linear, and a bias passes through an average); enlarging in one step is not.
            h, w = (2 * n - self.own.odd_sizes for n in logits.shape[1:3])
            logits = resize(logits, (h, w), self.own.align_corners)
        out: dict[str, Any] = {
            "logits": resize_logits(logits, size, self.own.align_corners),
            "aux": {},
            "features": {"sub1": sub1, "sub2": sub2, "sub4": sub4, "cff_24": cff_24, "cff_12": cff_12},
        }
        if not self.deterministic and len(self.aux_heads):
            guides = zip(("stride16", "stride8"), self.aux_heads, (guide_24, guide_12), strict=True)
            out["aux"] = {name: resize_logits(head(x), size, self.own.align_corners) for name, head, x in guides}
        return out

    def _coarse_branches(self, images: Array) -> tuple[Array, Array]:
        """The trunk on the half-size image: its second stage; and from there, halved again, its end and the pyramid."""
        trunk = self.backbone
        x = max_pool(trunk.stem(_half(images, self.own)), 3, 2, *trunk.pool)
        split = 1 if self.own.early_split else len(trunk.layer2)
        for block in [*trunk.layer1, *trunk.layer2[:split]]:
            x = block(x)
        middle, x = x, _half(x, self.own)
        for block in [*trunk.layer2[split:], *trunk.layer3, *trunk.layer4]:
            x = block(x)
        return middle, self.psp(x)


build = ICNet
