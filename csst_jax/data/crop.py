"""Geometry on the host: a scaled crop around a point, resized once, from undecoded bytes (paper §3.2, §4.2)."""

from __future__ import annotations

import tensorflow as tf
from jaxtyping import Bool, Float, Int, UInt8

from csst_jax.types import IGNORE_LABEL

_PADDING_RGB = (124, 116, 104)  # ImageNet's mean colour: close to zero after normalisation


def scaled_crop(
    image: UInt8[tf.Tensor, "h w 3"],
    label: UInt8[tf.Tensor, "h w 1"],
    centre: Float[tf.Tensor, 2],
    scale: Float[tf.Tensor, ""],
    crop_px: Int[tf.Tensor, ""],
    anywhere: Bool[tf.Tensor, ""],
) -> tuple[UInt8[tf.Tensor, "s s 3"], UInt8[tf.Tensor, "s s"]]:
    """Cuts a square of `crop_px` from the image as if it had been scaled by `scale` first.

    The window in the source, crop_px / scale pixels wide, is centred on `centre` and shifted to stay inside the image;
    where the image is smaller than the window, image and label are padded evenly on both sides, the label with 255.
    Only the window is resized: bilinear for the image, nearest for the label, both with half-pixel centres.

    Args:
      image: RGB.
      label: class indices, 255 = void.
      centre: (y, x) in source pixels.
      scale: magnification.
      crop_px: side of the result.
      anywhere: the centre stands for no object: use its relative place in the image as the window's among all places
        inside the image. Shifting a window that sticks out would pile crops up at the border.
    """
    size = tf.shape(label)[:2]
    window = tf.cast(tf.round(tf.cast(crop_px, tf.float32) / scale), tf.int32)
    taken = tf.minimum(window, size)
    around = centre - tf.cast(window - 1, tf.float32) / 2.0  # pixel n's own centre is at n
    share = centre / tf.maximum(tf.cast(size - 1, tf.float32), 1.0) * tf.cast(size - taken, tf.float32)
    start = tf.cast(tf.round(tf.where(anywhere, share, around)), tf.int32)
    start = tf.clip_by_value(start, 0, size - taken)
    target = tf.cast(
        tf.round(tf.cast(taken, tf.float32) * tf.cast(crop_px, tf.float32) / tf.cast(window, tf.float32)), tf.int32
    )
    target = tf.clip_by_value(target, 1, crop_px)
    image = image[start[0] : start[0] + taken[0], start[1] : start[1] + taken[1]]
    label = label[start[0] : start[0] + taken[0], start[1] : start[1] + taken[1]]
    image = tf.cast(tf.round(tf.image.resize(image, target, "bilinear")), tf.uint8)
    label = tf.image.resize(label, target, "nearest")
    before = (crop_px - target) // 2
    after = crop_px - target - before
    padding = tf.stack([[before[0], after[0]], [before[1], after[1]], [0, 0]])
    # Padding takes one value for all channels: shift by the colour, pad with zero, shift back (modulo 256).
    colour = tf.constant(_PADDING_RGB, tf.uint8)
    image = tf.pad(image - colour, padding) + colour
    label = tf.pad(label, padding, constant_values=IGNORE_LABEL)
    return tf.ensure_shape(image, (None, None, 3)), tf.ensure_shape(label, (None, None, 1))[:, :, 0]
