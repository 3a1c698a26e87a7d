"""Object-contextual representations (Yuan et al., 2020): regions' means, and attention of pixels to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.layers import ConvBN, Dropout

if TYPE_CHECKING:
    from jax.typing import DTypeLike


def spatial_gather(features: Float[Array, "b h w c"], logits: Float[Array, "b h w k"]) -> Float[Array, "b k 1 c"]:
    """A feature vector a class: the mean over the image, weighted by the softmax over *pixels* of the class's logits.

    Softmax and mean are float32 whatever the inputs are: thousands of pixels share the weight 1, and bfloat16 would
    round most of what each contributes away. The result has the features' dtype.
    """
    weights = jax.nn.softmax(logits.astype(jnp.float32), axis=(1, 2))
    means = jnp.einsum("bhwk,bhwc->bkc", weights, features.astype(jnp.float32), precision="highest")
    return means[:, :, None, :].astype(features.dtype)


class ObjectAttention(nnx.Module):
    """Each pixel's mean of the regions' vectors, weighted by its affinity to them.

    Names follow HRNet-Semantic-Segmentation; `f_pixel`, `f_object`, `f_down` and `f_up` are mmsegmentation's query,
    key, value and output projections.
    """

    def __init__(self, channels: int, key_channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        def pair() -> nnx.List:
            return nnx.List(
                [ConvBN(inside, key_channels, rngs=rngs, dtype=dtype) for inside in (channels, key_channels)]
            )

        self.f_pixel = pair()
        self.f_object = pair()
        self.f_down = ConvBN(channels, key_channels, rngs=rngs, dtype=dtype)
        self.f_up = ConvBN(key_channels, channels, rngs=rngs, dtype=dtype)

    def __call__(self, features: Float[Array, "b h w c"], regions: Float[Array, "b k 1 c"]) -> Float[Array, "b h w c"]:
        """The object context of every pixel."""
        first, second = self.f_pixel
        query = second(first(features))
        first, second = self.f_object
        key = second(first(regions))[:, :, 0]
        value = self.f_down(regions)[:, :, 0]
        affinity = jnp.einsum("bhwc,bkc->bhwk", query, key, preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(affinity * key.shape[-1] ** -0.5, axis=-1)
        context = jnp.einsum("bhwk,bkc->bhwc", weights.astype(value.dtype), value)
        return self.f_up(context)


class SpatialOCR(nnx.Module):
    """Attention to the regions, its result joined with the features (context first) by a 1x1 convolution."""

    def __init__(self, channels: int, key_channels: int, *, rngs: nnx.Rngs, dropout: float, dtype: DTypeLike):
        """Builds the module; `dropout` is the rate at which whole channels of the output are dropped, 0 for none."""
        self.object_context_block = ObjectAttention(channels, key_channels, rngs=rngs, dtype=dtype)
        self.conv = ConvBN(2 * channels, channels, rngs=rngs, dtype=dtype)
        self.dropout = Dropout(dropout, rngs=rngs, channels=True) if dropout else None

    def __call__(self, features: Float[Array, "b h w c"], regions: Float[Array, "b k 1 c"]) -> Float[Array, "b h w c"]:
        """Features that know the objects they belong to."""
        context = self.object_context_block(features, regions)
        y = self.conv(jnp.concatenate([context, features], -1))
        return y if self.dropout is None else self.dropout(y)
