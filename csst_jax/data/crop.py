"""Geometry on the host: a scaled crop around a point, resized once, from undecoded bytes (paper §3.2, §4.2)."""

from __future__ import annotations

import cv2
import numpy as np

from csst_jax.data.stored import encoded
from csst_jax.data.stored.tiles import Window
from csst_jax.types import IGNORE_LABEL, CsstError

_PADDING_RGB = (124, 116, 104)  # ImageNet's mean colour: close to zero after normalisation


def windows(
    size: tuple[int, int], centre: np.ndarray, scale: float, crop_px: int, anywhere: bool
) -> tuple[Window, Window]:
    """Where a crop is taken, and where it comes to lie.

    The window in the source, crop_px / scale pixels wide, is centred on `centre` and shifted to stay inside the image;
    where the image is smaller than the window, all of it is taken and lies in the middle of the crop.

    Args:
      size: (height, width) of the image.
      centre: (y, x) in source pixels.
      scale: magnification.
      crop_px: side of the crop.
      anywhere: the centre stands for no object: use its relative place in the image as the window's among all places
        inside the image. Shifting a window that sticks out would pile crops up at the border.

    Returns:
      The window in the source, and in the crop the place of the same pixels after scaling.
    """
    whole = np.asarray(size)
    window = max(1, round(crop_px / scale))
    taken = np.minimum(window, whole)
    if anywhere:
        start = centre / np.maximum(whole - 1, 1) * (whole - taken)
    else:
        start = centre - (window - 1) / 2.0  # pixel n's own centre is at n
    start = np.clip(np.round(start).astype(int), 0, whole - taken)
    target = np.clip(np.round(taken * (crop_px / window)).astype(int), 1, crop_px)
    before = (crop_px - target) // 2
    return Window(*start.tolist(), *taken.tolist()), Window(*before.tolist(), *target.tolist())


def scaled_crop(
    image: bytes,
    label: bytes | None,
    centre: np.ndarray,
    scale: float,
    anywhere: bool,
    *,
    image_out: np.ndarray,
    label_out: np.ndarray,
    soft_out: np.ndarray | None = None,
) -> None:
    """Cuts a square from the image as if it had been scaled by `scale` first.

    Only one window (see `windows`) is decoded, as far as the stored form allows, and resized: bilinear for the image
    (no antialiasing, as PyTorch's `interpolate`), nearest for the label, both with half-pixel centres. What the image
    does not fill gets a grey in the image and 255 in the label.

    Args:
      image: encoded RGB, see `encoded.decode_rgb`.
      label: encoded class indices, 255 = void, or a soft label; None where the image has none.
      centre: (y, x) in source pixels.
      scale: magnification.
      anywhere: see `windows`.
      image_out: uint8 [s, s, 3], written.
      label_out: uint8 [s, s], written; without a label 0 inside the image.
      soft_out: uint8 [n, s, s], written: what a soft label has beside its class indices, each map as the label; 0 where
        the image does not fill the crop, and all 0 where the label is none. None leaves it out.

    Raises:
      CsstError: image or label is damaged, or they differ in size.
    """
    crop_px = len(label_out)
    size = encoded.size(image)
    if label is not None and encoded.size(label) != size:
        raise CsstError(f"the image is {size} and its label {encoded.size(label)} pixels (height, width).")
    source, target = windows(size, centre, scale, crop_px, anywhere)
    height, width = target.height, target.width
    top, left = target.top, target.left
    inside = (slice(top, top + height), slice(left, left + width))
    if (height, width) != (crop_px, crop_px):
        label_out[:] = IGNORE_LABEL
        padding = np.tile(np.array(_PADDING_RGB, np.uint8), (crop_px, 1))
        # Whole rows at a time: three bytes at a time would take longer than the crop.
        image_out[:top] = padding
        image_out[top + height :] = padding
        image_out[inside[0], :left] = padding[:left]
        image_out[inside[0], left + width :] = padding[left + width :]
    # OpenCV writes into `dst` where it has the right size and type; these have.
    pixels = encoded.decode_rgb(image, source)
    cv2.resize(pixels, (width, height), dst=image_out[inside], interpolation=cv2.INTER_LINEAR)
    if label is None:
        label_out[inside] = 0
        return
    maps = encoded.decode_label(label, source)
    outputs = [label_out]
    if soft_out is not None:
        soft_out[:] = 0
        outputs += [*soft_out] if maps.ndim == 3 else []
    for own, out in zip(maps if maps.ndim == 3 else [maps], outputs, strict=False):
        cv2.resize(own, (width, height), dst=out[inside], interpolation=cv2.INTER_NEAREST_EXACT)
