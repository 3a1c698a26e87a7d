"""Cross entropy per pixel, not reduced: whoever reduces sums values and counts pixels over the global batch."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from csst_jax.platforms import by_platform
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
    # Classes outside: pixels, not a handful of classes, then fill a vector (see `models/ops/resize.py`).
    axis = min(1, logits.ndim - 1)
    return _values(jnp.moveaxis(logits.astype(jnp.float32), -1, axis), labels.astype(jnp.int32), valid, axis)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _values(logits: Array, labels: Array, valid: Array, axis: int) -> Array:
    """The values, with the classes along `axis`; the gradient is the textbook's, softmax - one-hot.

    JAX's own rule would keep exponentials and masks of every class for the backward pass.
    """
    return _forward(logits, labels, valid, axis)[0]


def _forward(logits: Array, labels: Array, valid: Array, axis: int) -> tuple[Array, tuple[Array, ...]]:
    sums = {"cpu": _sums_by_class, "default": _sums}
    given = {platform: functools.partial(function, axis=axis) for platform, function in sums.items()}
    highest, total, own = by_platform(logits, labels, **given)
    log_total = jnp.log(total)
    return jnp.where(valid, log_total - (own - highest), 0.0), (logits, labels, valid, highest, log_total)


def _backward(axis: int, saved: tuple[Array, ...], g: Array) -> tuple[Array, None, None]:
    logits, labels, valid, highest, log_total = saved
    highest, log_total, g, keep = (jnp.expand_dims(a, axis) for a in (highest, log_total, g, valid))
    probability = jnp.exp(logits - highest - log_total)
    # Pixels that do not count get zero whatever their logits are: zero times infinity would be NaN.
    return jnp.where(keep, (probability - _is_label(logits, labels, axis)) * g, 0.0), None, None


_values.defvjp(_forward, _backward)


def _is_label(logits: Array, labels: Array, axis: int) -> Array:
    # A comparison in place of a gather: a gather along the class axis is slow on TPU, and this fuses.
    return jnp.expand_dims(labels, axis) == jax.lax.broadcasted_iota(jnp.int32, logits.shape, axis)


def _sums(logits: Array, labels: Array, axis: int) -> tuple[Array, Array, Array]:
    """Highest logit, sum of exponentials relative to it, and the label's logit (0 where there is none), per pixel."""
    highest = logits.max(axis)
    total = jnp.exp(logits - jnp.expand_dims(highest, axis)).sum(axis)
    return highest, total, jnp.where(_is_label(logits, labels, axis), logits, 0.0).sum(axis)


def _sums_by_class(logits: Array, labels: Array, axis: int) -> tuple[Array, Array, Array]:
    """The same, class by class: XLA's CPU backend does not vectorise a reduction along an outer axis."""

    def of_class(k: jax.typing.ArrayLike) -> Array:
        return jax.lax.dynamic_index_in_dim(logits, k, axis, keepdims=False)

    def add(k: jax.typing.ArrayLike, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        total, own = sums
        return total + jnp.exp(of_class(k) - highest), jnp.where(labels == k, of_class(k), own)

    classes, zeros = logits.shape[axis], jnp.zeros(labels.shape, jnp.float32)
    highest = jax.lax.fori_loop(1, classes, lambda k, seen: jnp.maximum(seen, of_class(k)), of_class(0))
    return highest, *jax.lax.fori_loop(0, classes, add, (zeros, zeros))


def sum_and_count(values: Float[Array, "*b"], mask: Bool[Array, "*b"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(sum of the values where the mask holds, number of those pixels), float32: what a method returns for a loss.

    The mean is sum / max(count, 1); under `jax.jit` on batch-sharded arrays both are over the global batch.
    """
    return jnp.where(mask, values, 0.0).sum(), mask.sum(dtype=jnp.int32).astype(jnp.float32)
