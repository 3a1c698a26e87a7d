"""Photometry on the device, inside the compiled step (paper §4.2): flip, colour jitter, Gaussian blur, normalisation.

The host hands over uint8 crops; everything here is batched arithmetic on them. A sample's draws depend on (seed, epoch,
position in the epoch) alone, so that a resumed run and a run on more devices see the same pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from csst_jax.methods.base import Crops
from csst_jax.models.preprocessing import Preprocessing
from csst_jax.streams import Stream

_BLUR_RADIUS = 3  # pixels: covers 2.3 deviations of the widest blur
# In pixels: of the teacher's recipe (VPLR's RandomGaussianBlur); the paper gives none. UniMatch's are 0.1 and 2.
_BLUR_SIGMA = (0.15, 1.3)
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma
_TO_YIQ = np.array([(0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


@dataclasses.dataclass(frozen=True)
class Photometry:
    """How one view of a crop changes colours and sharpness.

    Attributes:
      jitter: brightness, contrast and saturation are multiplied by U(1 - jitter, 1 + jitter), hue is turned by
        U(-jitter, jitter) half turns (paper §4.2: 0.1; UniMatch's strong view: 0.5).
      blur: probability of a Gaussian blur.
      jitter_share: probability of the jitter (UniMatch's strong view: 0.8).
      grey: probability that colours are taken away (UniMatch's strong view: 0.2).
    """

    jitter: float
    blur: float
    jitter_share: float = 1.0
    grey: float = 0.0

    def __call__(
        self, x: Float[Array, "b h w 3"], u: Float[Array, "b 7"], keys: Key[Array, " b"]
    ) -> Float[Array, "b h w 3"]:
        """The view of images from 0 to 1.

        Args:
          x: RGB.
          u: each crop's uniform numbers; the first is the flip's.
          keys: each crop's own, for further numbers.
        """
        if self.jitter > 0:
            jittered = _jitter(x, self.jitter * (2.0 * u[:, 1:5] - 1.0))
            x = jittered if self.jitter_share == 1 else jnp.where(_chance(keys, 1, self.jitter_share), jittered, x)
        if self.grey > 0:
            x = jnp.where(_chance(keys, 2, self.grey), _luma(x), x)
        if self.blur > 0:
            low, high = _BLUR_SIGMA
            x = _blur(x, u[:, 5] < self.blur, low + (high - low) * u[:, 6])
        return x


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What the device does to a crop.

    Attributes:
      flip: probability of a horizontal flip, which all views share.
      views: photometry by view.
      preprocessing: what comes last: normalisation as the network expects it.
    """

    flip: float
    views: Mapping[str, Photometry]
    preprocessing: Preprocessing

    def __call__(self, stream: Stream, arrays: Mapping[str, Array], key: Array) -> Crops:
        """A stream's crops in the views that it asks for, all with the same flip.

        Args:
          stream: the stream.
          arrays: see `csst_jax.streams.crop_entries`.
          key: the run's key, of this stream.
        """
        keys = jax.vmap(lambda s: jax.random.fold_in(jax.random.fold_in(key, s[0]), s[1]))(arrays["sample"])
        u = jax.vmap(lambda k: jax.random.uniform(k, (7,)))(keys)
        flip = u[:, 0] < self.flip
        x = arrays["image"].astype(jnp.float32) * (1.0 / 255.0)
        x = jnp.where(flip[:, None, None, None], x[:, :, ::-1], x)
        plane = arrays["label" if stream.labelled else "padding"]
        plane = jnp.where(flip[:, None, None], plane[:, :, ::-1], plane)
        soft = jnp.moveaxis(arrays["soft"], 1, -1) if stream.soft else None
        if soft is not None:
            soft = jnp.where(flip[:, None, None, None], soft[:, :, ::-1], soft)
        images, own_keys = {}, keys
        for number, view in enumerate(stream.views):
            if number:  # other numbers than the first view's
                keys = jax.vmap(lambda k: jax.random.fold_in(k, 0))(keys)
                u = jax.vmap(lambda k: jax.random.uniform(k, (7,)))(keys)
            images[view] = self.preprocessing(self.views[view](x, u, keys))
        return Crops(images, plane, own_keys, soft, arrays["pseudo"] if stream.marked else None)


def _chance(keys: Key[Array, " b"], number: int, probability: float) -> Bool[Array, "b 1 1 1"]:
    u = jax.vmap(lambda k: jax.random.uniform(jax.random.fold_in(k, number)))(keys)
    return (u < probability)[:, None, None, None]


def _luma(x: Float[Array, "b h w 3"]) -> Float[Array, "b h w 1"]:
    # Three multiply-adds, not a product: with three channels there is nothing for a matrix unit to do.
    return sum((x[..., c : c + 1] * _GREY[c] for c in range(3)), jnp.zeros_like(x[..., :1]))


def _jitter(x: Float[Array, "b h w 3"], amounts: Float[Array, "b 4"]) -> Float[Array, "b h w 3"]:
    """Brightness, contrast, saturation and hue as one colour matrix and one offset per image."""
    brightness, contrast, saturation = 1.0 + amounts[:, 0], 1.0 + amounts[:, 1], 1.0 + amounts[:, 2]
    angle = jnp.pi * amounts[:, 3]
    grey = jnp.asarray(_GREY)
    cos, sin = jnp.cos(angle) * saturation, jnp.sin(angle) * saturation
    zero, one = jnp.zeros_like(cos), jnp.ones_like(cos)
    turn = jnp.stack(
        [jnp.stack([one, zero, zero], -1), jnp.stack([zero, cos, -sin], -1), jnp.stack([zero, sin, cos], -1)], 1
    )
    # "highest": a TPU would round the factors of these products to bfloat16.
    from_yiq, to_yiq = jnp.asarray(_FROM_YIQ, jnp.float32), jnp.asarray(_TO_YIQ, jnp.float32)
    matrix = jnp.einsum("ij,bjk,kl->bil", from_yiq, turn, to_yiq, precision="highest")
    matrix = matrix * (brightness * contrast)[:, None, None]
    mean_grey = jnp.mean(x, (1, 2)) @ grey * brightness
    # Three multiply-adds, not a product: with three channels there is nothing for a matrix unit to do.
    x = sum((x[..., c : c + 1] * matrix[:, None, None, :, c] for c in range(3)), jnp.zeros_like(x))
    x = x + ((1.0 - contrast) * mean_grey)[:, None, None, None]
    return jnp.clip(x, 0.0, 1.0)


def _blur(x: Float[Array, "b h w 3"], active: Array, sigma: Float[Array, b]) -> Float[Array, "b h w 3"]:
    offsets = jnp.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1)
    weights = jnp.exp(-0.5 * jnp.square(offsets[None] / sigma[:, None]))
    weights = weights / jnp.sum(weights, 1, keepdims=True)
    identity = (offsets == 0).astype(jnp.float32)
    weights = jnp.where(active[:, None], weights, identity)
    for axis in (1, 2):
        r, size = _BLUR_RADIUS, x.shape[axis]
        pad = [(0, 0)] * 4
        pad[axis] = (r, r)
        padded = jnp.pad(x, pad, mode="edge")
        shifted = (jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(2 * r + 1))
        x = sum((s * weights[:, i, None, None, None] for i, s in enumerate(shifted)), jnp.zeros_like(x))
    return x
