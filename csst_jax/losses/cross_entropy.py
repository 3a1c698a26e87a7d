"""Cross entropy per pixel, not reduced: whoever reduces sums values and counts pixels over the global batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from csst_jax.types import IGNORE_LABEL


def valid_pixels(labels: Integer[Array, "*b"]) -> Bool[Array, "*b"]:
    """Pixels that count: those whose label is not IGNORE_LABEL."""
    return labels != IGNORE_LABEL


def cross_entropy(
    logits: Float[Array, "*b c"], labels: Integer[Array, "*b"], valid: Bool[Array, "*b"] | None = None
) -> Float[Array, "*b"]:
    """-log softmax(logits)[label] in nats, float32, never negative (paper eq. 1 and 3).

    Args:
      logits: any floating type; computed in float32.
      labels: class of each pixel, any integer type.
      valid: pixels that count; None means labels other than IGNORE_LABEL. Elsewhere the value and the gradient are
        zero, whatever the logits are.
    """
    if valid is None:
        valid = valid_pixels(labels)
    # Masked before the arithmetic, not only after it: the gradient of a masked infinity would be NaN.
    logits = jnp.where(valid[..., None], logits.astype(jnp.float32), 0.0)
    logits = logits - jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
    # A comparison in place of a gather: a gather along the class axis is slow on TPU, and this fuses.
    is_label = labels[..., None].astype(jnp.int32) == jnp.arange(logits.shape[-1], dtype=jnp.int32)
    label_logit = jnp.where(is_label, logits, 0.0).sum(axis=-1)
    value = jnp.log(jnp.exp(logits).sum(axis=-1)) - label_logit
    return jnp.where(valid, value, 0.0)


def sum_and_count(values: Float[Array, "*b"], mask: Bool[Array, "*b"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(sum of the values where the mask holds, number of those pixels), float32: what a method returns for a loss.

    The mean is sum / max(count, 1); under `jax.jit` on batch-sharded arrays both are over the global batch.
    """
    return jnp.where(mask, values, 0.0).sum(), mask.sum(dtype=jnp.int32).astype(jnp.float32)
