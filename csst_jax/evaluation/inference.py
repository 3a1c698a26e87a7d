"""Prediction on whole images: class probabilities averaged over scales and mirror images, one image at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from csst_jax.models.preprocessing import Preprocessing
from csst_jax.models.resize import resize
from csst_jax.train.sharding import DATA
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
      apply_fn: called as apply_fn(images, *state) with normalised float32 images "b h w 3"; returns logits "b h w c" at
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
            at_scale = _both_ways(apply_fn, scaled, state) if flip else _probabilities(apply_fn, scaled, state)
            total = total + _resize(at_scale, (height, width), align_corners)
        return total / (len(scales) * (2 if flip else 1))

    return predict


def make_labeller(
    probabilities: Callable[..., jax.Array], mesh: jax.sharding.Mesh
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """A jittable function from a batch that is sharded over `data` to each pixel's class and its probability.

    A device takes the images of its share one after another: probabilities have as many values as the image has pixels
    times classes (0.5 GiB at 1024x2048 with 66 classes), and are there for one image of each device at a time.

    Args:
      probabilities: what `make_predictor` returns.
      mesh: the devices.

    Returns:
      label(images uint8 "b h w 3", *state) -> classes uint8 "b h w" and confidences float32 "b h w".
    """

    def one(image: jax.Array, *state: Any) -> tuple[jax.Array, jax.Array]:
        p = probabilities(image[None], *state)[0]
        return jnp.argmax(p, -1).astype(jnp.uint8), jnp.max(p, -1)

    def label(images: jax.Array, *state: Any) -> tuple[jax.Array, jax.Array]:
        share, everywhere = jax.sharding.PartitionSpec(DATA), jax.sharding.PartitionSpec()
        return jax.shard_map(
            lambda images, *state: jax.lax.map(lambda image: one(image, *state), images),
            mesh=mesh,
            in_specs=(share, *[everywhere] * len(state)),
            out_specs=(share, share),
            check_vma=False,  # a check of what is exchanged between devices: nothing is
        )(images, *state)

    return label


def _both_ways(apply_fn: Callable[..., jax.Array], images: jax.Array, state: tuple) -> jax.Array:
    """The sum for the images and their mirror images: one network to compile, and one set of logits at a time."""
    probabilities = jax.jit(functools.partial(_probabilities, apply_fn))  # traced once, for the shape and for the use
    like = jax.eval_shape(probabilities, images, state)

    def add(total: jax.Array, mirrored: jax.Array) -> tuple[jax.Array, None]:
        p = probabilities(jnp.where(mirrored, images[:, :, ::-1], images), state)
        return total + jnp.where(mirrored, p[:, :, ::-1], p), None

    total, _ = jax.lax.scan(add, jnp.zeros(like.shape, like.dtype), jnp.array([False, True]))
    return total


def _probabilities(apply_fn: Callable[..., jax.Array], images: jax.Array, state: tuple) -> jax.Array:
    """Softmax in float32: bfloat16 probabilities would tie between classes."""
    logits = apply_fn(images, *state)
    if logits.shape[:3] != images.shape[:3]:
        raise ValueError(f"the network returned logits of shape {logits.shape} for images of shape {images.shape}")
    return jax.nn.softmax(logits.astype(jnp.float32), axis=-1)


def _resize(x: jax.Array, size: tuple[int, int], align_corners: bool) -> jax.Array:
    return x if x.shape[1:3] == size else resize(x, size, align_corners)
