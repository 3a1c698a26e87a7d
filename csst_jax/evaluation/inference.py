"""Prediction on whole images: class probabilities averaged over scales and mirror images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from csst_jax.models.preprocessing import Preprocessing
from csst_jax.models.resize import resize
from csst_jax.types import CsstError


def make_predictor(
    apply_fn: Callable[..., jax.Array],
    preprocessing: Preprocessing,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    stride: int = 32,
    align_corners: bool = False,
) -> Callable[..., jax.Array]:
    """A jittable function from images to class probabilities at the images' size.

    Args:
      apply_fn: called as apply_fn(images, *state) with normalised float32 images "b h w 3", with `flip` two for each
        image; returns logits "b h w c" at
        the size of its input.
      preprocessing: how images are normalised.
      scales: sizes of the image pyramid relative to the input. At scale 1 the network gets the image's own size; at
        others each side is scaled, then rounded to the nearest multiple of `stride`, at least one.
      flip: also predict the mirror image at each scale.
      stride: in pixels.
      align_corners: the resize convention for images and probabilities (see `csst_jax.models.resize`).

    Returns:
      predict(images uint8 "b h w 3", *state) -> probabilities "b h w c", float32, the mean of the softmax over scales
      and flips. Whatever is given as state reaches apply_fn, so that parameters can be arguments of the compiled
      program and not constants in it.

    Raises:
      CsstError: no scale, or one that is not positive.
      ValueError: (from predict) the logits are not at the size of the network's input.
    """
    if not scales or min(scales) <= 0:
        raise CsstError(f"prediction scales are {tuple(scales)}; give at least one, each above 0.")

    def rounded(side: float) -> int:
        return max(round(side / stride), 1) * stride

    def predict(images: UInt8[Array | np.ndarray, "b h w 3"], *state: Any) -> Float[Array, "b h w c"]:
        _, height, width, _ = images.shape
        normalised = preprocessing(jnp.asarray(images, jnp.float32) * (1.0 / 255.0))
        total = jnp.float32(0)
        for scale in scales:
            size = (height, width) if scale == 1 else (rounded(height * scale), rounded(width * scale))
            scaled = _resize(normalised, size, align_corners)
            if flip:
                # An image and its mirror image side by side in the batch: one network to compile, not two, and a batch
                # that is sharded over devices stays where it is.
                pairs = jnp.stack([scaled, scaled[:, :, ::-1]], axis=1)
                both = _probabilities(apply_fn, pairs.reshape(-1, *scaled.shape[1:]), state)
                both = both.reshape(*pairs.shape[:-1], both.shape[-1])
                at_scale = both[:, 0] + both[:, 1, :, ::-1]
            else:
                at_scale = _probabilities(apply_fn, scaled, state)
            total = total + _resize(at_scale, (height, width), align_corners)
        return total / (len(scales) * (2 if flip else 1))

    return predict


def _probabilities(apply_fn: Callable[..., jax.Array], images: jax.Array, state: tuple) -> jax.Array:
    """Softmax in float32: bfloat16 probabilities would tie between classes."""
    logits = apply_fn(images, *state)
    if logits.shape[:3] != images.shape[:3]:
        raise ValueError(f"the network returned logits of shape {logits.shape} for images of shape {images.shape}")
    return jax.nn.softmax(logits.astype(jnp.float32), axis=-1)


def _resize(x: jax.Array, size: tuple[int, int], align_corners: bool) -> jax.Array:
    return x if x.shape[1:3] == size else resize(x, size, align_corners)
