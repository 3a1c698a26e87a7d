"""The plain head of HRNetV2 (Wang et al., 2020), which OCR keeps as its first, coarse classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.layers import Classifier, ConvBN

if TYPE_CHECKING:
    from jax.typing import DTypeLike


class HRNetV2Head(nnx.Module):
    """A 1x1 convolution that keeps the channels, batch normalisation, ReLU and a classifier.

    On HRNetV2-W48's 720 channels and for 19 classes 534,259 parameters, 65,859,379 with the trunk. `project` and
    `classifier` are `last_layer.0`, `.1` and `.3` of HRNet-Semantic-Segmentation.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        rngs: nnx.Rngs,
        bias: bool = True,
        dtype: DTypeLike = jnp.float32,
    ):
        """Builds the head.

        Args:
          channels: of the input, the concatenated branches (`hrnet.concatenate_branches`).
          num_classes: classes of the logits.
          rngs: where initial weights are drawn from.
          bias: whether the first convolution has one, in spite of the normalisation that follows
            (HRNet-Semantic-Segmentation), or not (mmsegmentation).
          dtype: compute dtype.
        """
        self.project = ConvBN(channels, channels, rngs=rngs, bias=bias, dtype=dtype)
        self.classifier = Classifier(channels, num_classes, rngs=rngs, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w k"]:
        """Logits at the input's size, in the compute dtype."""
        return self.classifier(self.project(x))
