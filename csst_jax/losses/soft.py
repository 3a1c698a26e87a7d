"""The loss on a soft pseudo label: the mean of the losses on its classes, by their probabilities (paper eq. 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, UInt8

from csst_jax.types import SOFT_ONE

if TYPE_CHECKING:
    from collections.abc import Callable


def on_soft_labels(
    pixel_loss: Callable[..., Float[Array, "*b"]],
    logits: Float[Array, "*b c"],
    labels: Integer[Array, "*b"],
    valid: Bool[Array, "*b"],
    soft: UInt8[Array, "*b n"],
) -> Float[Array, "*b"]:
    """-sum over k of y'_k log p_k, where the loss on one class is the cross-entropy; float32, never negative.

    Args:
      pixel_loss: see `csst_jax.losses.LOSSES`.
      logits: any floating type.
      labels: the most probable class of each pixel, or the real one.
      valid: pixels that count; elsewhere the value is zero.
      soft: see `csst_jax.methods.base.Crops`. Where it is 0 the value is the loss on the label.
    """
    others = soft.shape[-1] // 2
    classes, shares = soft[..., :others], soft[..., others:].astype(jnp.int32)
    values = (SOFT_ONE - shares.sum(-1)) * (1 / SOFT_ONE) * pixel_loss(logits, labels, valid)
    for rank in range(others):
        values += shares[..., rank] * (1 / SOFT_ONE) * pixel_loss(logits, classes[..., rank], valid)
    return values
