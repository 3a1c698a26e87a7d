"""The fully convolutional head: 3x3 convolutions, dropout, classifier; main head and auxiliary head of many networks.

PyTorch-Encoding, gluon-cv, semseg and torchvision have one convolution to a quarter of the channels; mmsegmentation's
`FCNHead` may have several, and may look at its input once more before it classifies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.layers import Conv, ConvBN, Dropout

if TYPE_CHECKING:
    from jax.typing import DTypeLike


class FCNHead(nnx.Module):
    """Convolutions, dropout and classifier; the caller resizes the logits.

    Attributes (which import rules name, after mmsegmentation):
      convs: list of `ConvBN`.
      conv_cat: `ConvBN` on input and result of those, concatenated; or None.
      conv_seg: the classifier.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        rngs: nnx.Rngs,
        channels: int | None = None,
        num_convs: int = 1,
        kernel_size: int = 3,
        classifier_kernel: int = 1,
        concat_input: bool = False,
        bias: bool = False,
        dropout: float = 0.1,
        dropout_channels: bool = True,
        dtype: DTypeLike = jnp.float32,
    ):
        """Builds the head.

        Args:
          in_channels: of the input.
          num_classes: classes of the logits.
          rngs: where initial weights are drawn from.
          channels: of the convolutions; None stands for a quarter of `in_channels`, or, without convolutions, for
            `in_channels`.
          num_convs: convolutions before the classifier, not counting `conv_cat`.
          kernel_size: theirs.
          classifier_kernel: the classifier's; 3 in smp's segmentation heads.
          concat_input: whether one more convolution sees the input next to the result (mmsegmentation's main head).
          bias: whether the convolutions have biases before batch normalisation (the original HRNetV2's).
          dropout: rate before the classifier; 0 leaves dropout out.
          dropout_channels: whether dropout drops whole channels of an image (`Dropout2d`).
          dtype: compute dtype.
        """
        if channels is None:
            channels = in_channels // 4 if num_convs else in_channels
        self.convs: nnx.List = nnx.List([])
        width = in_channels
        for _ in range(num_convs):
            self.convs.append(ConvBN(width, channels, kernel_size, rngs=rngs, bias=bias, dtype=dtype))
            width = channels
        self.conv_cat = (
            ConvBN(in_channels + width, channels, kernel_size, rngs=rngs, bias=bias, dtype=dtype)
            if concat_input
            else None
        )
        self.dropout = Dropout(dropout, rngs=rngs, channels=dropout_channels) if dropout else None
        # As `layers.Classifier` draws its weights, with any kernel.
        self.conv_seg = Conv(
            channels,
            num_classes,
            classifier_kernel,
            rngs=rngs,
            padding=classifier_kernel // 2,
            bias=True,
            init_std=0.01,
            dtype=dtype,
        )

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w k"]:
        """Logits of the input's size, in the compute dtype."""
        y = x
        for conv in self.convs:
            y = conv(y)
        if self.conv_cat is not None:
            y = self.conv_cat(jnp.concatenate([x.astype(y.dtype), y], axis=-1))
        if self.dropout is not None:
            y = self.dropout(y)
        return self.conv_seg(y)
