"""Context encoding (Zhang et al., CVPR 2018): statistics of the image that weigh channels and tell classes present."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.layers import BatchNorm, Classifier, Conv, ConvBN

if TYPE_CHECKING:
    from jax.typing import DTypeLike


class Encoding(nnx.Module):
    """Sums of residuals to learnt codewords, each pixel assigned to them softly (Deep TEN, Zhang et al., CVPR 2017).

    Parameters start as in PyTorch-Encoding: codewords uniform within 1 / sqrt(codes * channels), scales in [-1, 0), so
    that a pixel leans to the codewords close to it.
    """

    def __init__(self, channels: int, codes: int, *, rngs: nnx.Rngs):
        bound = (codes * channels) ** -0.5
        self.codewords = nnx.Param(
            jax.random.uniform(rngs.params(), (codes, channels), jnp.float32, minval=-bound, maxval=bound)
        )
        self.scale = nnx.Param(jax.random.uniform(rngs.params(), (codes,), jnp.float32, minval=-1.0, maxval=0.0))

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b k c"]:
        """Aggregated residuals in float32: they are sums over all pixels, and so are the distances over channels."""
        x = x.astype(jnp.float32)
        codewords = self.codewords[...]
        # |x - d|^2 and the sum of a (x - d), both expanded: the residuals themselves would fill b h w k c numbers.
        product = jnp.einsum("bhwc,kc->bhwk", x, codewords, precision="highest")
        distance = jnp.sum(x * x, -1, keepdims=True) - 2.0 * product + jnp.sum(codewords * codewords, -1)
        assignment = jax.nn.softmax(self.scale[...] * distance, axis=-1)
        total = jnp.einsum("bhwk,bhwc->bkc", assignment, x, precision="highest")
        return total - jnp.sum(assignment, (1, 2))[:, :, None] * codewords


class EncodingModule(nnx.Module):
    """Weighs channels by the encoded image and predicts from it which classes occur.

    In PyTorch-Encoding's names `project`, `encoding` and `norm` are `encoding.0` and `.1`, `.3`, `.4`; the linear
    layers `fc` and `selayer` are 1x1 convolutions here. They and the normalisation over codewords are float32: the
    encoded image is small, and its values are sums over all pixels.
    """

    def __init__(self, channels: int, num_classes: int, *, rngs: nnx.Rngs, codes: int = 32, dtype: DTypeLike):
        self.project = ConvBN(channels, channels, rngs=rngs, dtype=dtype)
        self.encoding = Encoding(channels, codes, rngs=rngs)
        self.norm = BatchNorm(codes, rngs=rngs)
        self.fc = Conv(channels, channels, 1, rngs=rngs, bias=True)
        self.selayer = Classifier(channels, num_classes, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> tuple[Float[Array, "b h w c"], Float[Array, "b k"]]:
        """Weighted features in the input's dtype, and float32 logits of the classes' presence in each image."""
        codes = self.encoding(self.project(x))
        # A codeword is a channel to its normalisation, which averages over images and feature channels.
        codes = jax.nn.relu(self.norm(jnp.swapaxes(codes, 1, 2)[:, None]))
        encoded = jnp.mean(codes, -1)[:, None]
        gate = jax.nn.sigmoid(self.fc(encoded)).astype(x.dtype)
        return jax.nn.relu(x + x * gate), self.selayer(encoded)[:, 0, 0]
