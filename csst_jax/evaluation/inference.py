"""Class probabilities of images, averaged over scales, mirror images and overlapping windows, one image at a time.

What is averaged are probabilities, not logits, as in PSPNet's code (hszhao/semseg). mmsegmentation averages logits over
windows, and probabilities over scales and mirror images.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from csst_jax.models.ops.resize import resize
from csst_jax.models.preprocessing import Preprocessing
from csst_jax.train.sharding import DATA
from csst_jax.types import CsstError


def require_sound(scales: Sequence[float], window_px: int, window_overlap: float) -> None:
    """Refuses settings of a prediction that are out of range.

    Raises:
      CsstError: no scale, or one that is not positive; a window or an overlap out of range.
    """
    if not scales or not all(0 < scale < math.inf for scale in scales):  # NaN is neither
        raise CsstError(f"prediction scales are {tuple(scales)}; give at least one, each above 0.")
    if window_px < 0 or not 0 <= window_overlap < 1:
        raise CsstError(
            f"window_px={window_px}, window_overlap={window_overlap}: give a side in pixels (0 = whole images) and "
            "a share from 0 to below 1."
        )


def make_predictor(
    apply_fn: Callable[..., jax.Array],
    preprocessing: Preprocessing,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window_px: int = 0,
    window_overlap: float = 1 / 3,
    stride: int = 32,
) -> Callable[..., jax.Array]:
    """A jittable function from images to class probabilities at the images' size.

    Args:
      apply_fn: called as apply_fn(images, *state) with normalised float32 images "b h w 3"; returns logits "b h w c" at
        the size of its input.
      preprocessing: how images are normalised.
      scales: sizes of the image pyramid relative to the input. At scale 1 the network gets the image's own size; at
        others each side is scaled, then rounded to the nearest multiple of `stride`, at least one.
      flip: also predict the mirror image at each scale.
      window_px: side of the network's input at every scale (paper §4.3.7): overlapping windows, which the device
        takes one after another, cover the image (see `windows`). 0 for whole images.
      window_overlap: share of a window's side that its neighbour sees as well.
      stride: in pixels.

    Returns:
      predict(images uint8 "b h w 3", *state) -> probabilities "b h w c", float32, the mean of the softmax over scales
      and flips, and within a scale over the windows that see the pixel. Whatever is given as state reaches apply_fn, so
      that parameters can be arguments of the compiled program and not constants in it.

    Raises:
      CsstError: no scale, or one that is not positive; a window or an overlap out of range.
      ValueError: (from predict) the logits are not at the size of the network's input.
    """
    require_sound(scales, window_px, window_overlap)

    def rounded(side: float) -> int:
        return max(round(side / stride), 1) * stride

    def predict(images: UInt8[Array | np.ndarray, "b h w 3"], *state: Any) -> Float[Array, "b h w c"]:
        _, height, width, _ = images.shape
        normalised = preprocessing(jnp.asarray(images, jnp.float32) * (1.0 / 255.0))
        total = jnp.float32(0)
        share = 1 / (len(scales) * (2 if flip else 1))  # of each prediction: dividing the sum would copy it
        for scale in scales:
            region, corners = windows((height, width), scale, window_px, window_overlap)
            size = region if scale == 1 else (rounded(region[0] * scale), rounded(region[1] * scale))

            def of_region(region_images: jax.Array, state: tuple, size: tuple[int, int] = size) -> jax.Array:
                p = _probabilities(apply_fn, _resize(region_images, size), state)
                _, *back, _ = region_images.shape
                return _resize(p, (back[0], back[1]))

            views = [(*corner, mirrored) for corner in corners for mirrored in ((False, True) if flip else (False,))]
            if len(views) == 1:
                total = total + of_region(normalised, state) * share
            else:
                total = _add_views(total, of_region, normalised, state, region, views, share)
        return total

    return predict


def windows(
    image_size: tuple[int, int], scale: float, window_px: int, overlap: float
) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """How windows of the scaled image cover the image: in pixels of the image, so that only a window is ever scaled.

    A window of `window_px` is a region of `window_px / scale` pixels. Regions start a whole number of strides apart,
    and the last one is moved back to end with the image. A side that is shorter than the region makes the region
    shorter, so nothing is padded (as mmsegmentation's slide mode).

    Args:
      image_size: height and width in pixels.
      scale: of the image.
      window_px: side of a window of the scaled image; 0 for one that holds all of it.
      overlap: share of a region's side that its neighbour covers as well, from 0 to below 1.

    Returns:
      The region's height and width, and (top, left) of each, row by row.
    """
    if not window_px:
        return image_size, [(0, 0)]
    height, width = (min(max(round(window_px / scale), 1), side) for side in image_size)

    def starts(side: int, region: int) -> list[int]:
        stride = max(int(region * (1 - overlap)), 1)
        return [min(i * stride, side - region) for i in range(-(-(side - region) // stride) + 1)]

    return (height, width), list(itertools.product(starts(image_size[0], height), starts(image_size[1], width)))


def make_labeller(
    probabilities: Callable[..., jax.Array], mesh: jax.sharding.Mesh, ranks: int = 1
) -> Callable[..., tuple[jax.Array, ...]]:
    """A jittable function from a batch that is sharded over `data` to each pixel's class and its probability.

    A device, or those that share an image's rows, takes the images of its share one after another: probabilities have
    as many values as the image has pixels times classes (0.5 GiB at 1024x2048 with 66 classes), and are there for one
    image at a time.

    Args:
      probabilities: what `make_predictor` returns.
      mesh: the devices; `probabilities` itself may split rows over `spatial`.
      ranks: how many of the most probable classes are told.

    Returns:
      label(images uint8 "b h w 3", *state) -> classes uint8 "b h w" and confidences float32 "b h w", of the most
      probable class first, then those of the second one, and so on.
    """

    def one(image: jax.Array, *state: Any) -> tuple[jax.Array, ...]:
        p = probabilities(image[None], *state)[0]
        best = jnp.argmax(p, -1)
        found = [best.astype(jnp.uint8), jnp.max(p, -1)]
        for _ in range(1, ranks):
            p = jnp.where(jnp.arange(p.shape[-1]) == best[..., None], -1.0, p)
            best = jnp.argmax(p, -1)
            found += [best.astype(jnp.uint8), jnp.max(p, -1)]
        return tuple(found)

    def label(images: jax.Array, *state: Any) -> tuple[jax.Array, ...]:
        share, everywhere = jax.sharding.PartitionSpec(DATA), jax.sharding.PartitionSpec()
        return jax.shard_map(
            lambda images, *state: jax.lax.map(lambda image: one(image, *state), images),
            mesh=mesh,
            in_specs=(share, *[everywhere] * len(state)),
            out_specs=(share,) * (2 * ranks),
            axis_names={DATA},
            check_vma=False,  # a check of what is exchanged between devices: nothing is
        )(images, *state)

    return label


def _add_views(
    total: jax.Array,
    of_region: Callable[..., jax.Array],
    images: jax.Array,
    state: tuple,
    region: tuple[int, int],
    views: Sequence[tuple[int, int, bool]],
    share: float,
) -> jax.Array:
    """Adds `share` of the sum over mirror images, and of the mean over the windows that see a pixel.

    One network to compile, and one view's logits at a time; a loop within the loop would cost a second sum.
    """
    batch, height, width, _ = images.shape
    seen = np.zeros((height, width), np.float32)
    for top, left in {(top, left) for top, left, _ in views}:
        seen[top : top + region[0], left : left + region[1]] += 1
    # Corners are all pairs of a top and a left, so this is a product of two lines, which take less memory.
    rows, columns = jnp.asarray(share / seen[:, 0]), jnp.asarray(seen[0, 0] / seen[0])
    of_region = jax.jit(of_region)  # traced once, for the shape and for the use

    def cut(x: jax.Array, top: jax.Array, left: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(x, (0, top, left, 0), (batch, *region, x.shape[-1]))

    def add(total: jax.Array, view: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        top, left, mirrored = view
        tile = cut(images, top, left)
        p = of_region(jnp.where(mirrored, tile[:, :, ::-1], tile), state)
        p = jnp.where(mirrored, p[:, :, ::-1], p)
        down = jax.lax.dynamic_slice(rows, (top,), region[:1])[None, :, None, None]
        across = jax.lax.dynamic_slice(columns, (left,), region[1:])[None, None, :, None]
        return jax.lax.dynamic_update_slice(total, cut(total, top, left) + p * down * across, (0, top, left, 0)), None

    like = jax.eval_shape(of_region, images[:, : region[0], : region[1]], state)
    start = jnp.broadcast_to(total, (batch, height, width, like.shape[-1])).astype(like.dtype)
    return jax.lax.scan(add, start, tuple(map(jnp.asarray, zip(*views, strict=True))))[0]


def _probabilities(apply_fn: Callable[..., jax.Array], images: jax.Array, state: tuple) -> jax.Array:
    """Softmax in float32: bfloat16 probabilities would tie between classes."""
    logits = apply_fn(images, *state)
    if logits.shape[:3] != images.shape[:3]:
        raise ValueError(f"the network returned logits of shape {logits.shape} for images of shape {images.shape}")
    return jax.nn.softmax(logits.astype(jnp.float32), axis=-1)


def _resize(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    return x if x.shape[1:3] == size else resize(x, size, align_corners=False)
