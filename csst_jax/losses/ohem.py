"""Online hard example mining (paper §4.2, after Wu et al. [62]): the loss is averaged over hard pixels only.

Published code has several definitions that disagree; most count the pixels of one GPU's batch against a fixed number,
so that the loss changes with the number of devices and the crop size. This is the definition here, over the global
batch:

* a pixel is hard if the probability of its ground-truth class is at most `threshold`;
* at least ceil(min_kept_fraction * number of valid pixels) pixels are kept: if fewer are hard, the ones with the
  largest loss are kept instead, and all of those that tie with the last one.
"""

from __future__ import annotations

import fractions
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_MAX_DENOMINATOR = 2**15


def ohem_mask(
    values: Float[Array, "*b"],
    valid: Bool[Array, "*b"],
    *,
    threshold: float,
    min_kept_fraction: float,
) -> Bool[Array, "*b"]:
    """Pixels that the loss keeps, by the definition above; no gradient flows through it.

    Under `jax.jit` on sharded arrays the result is the same as on one device: all that devices exchange is a count, up
    to 33 times. A valid pixel with the value NaN is kept, so that the loss shows it.

    Args:
      values: cross entropy per pixel in nats, float32, not negative.
      valid: pixels that count.
      threshold: largest ground-truth probability of a hard pixel, in (0, 1].
      min_kept_fraction: share of the valid pixels that is kept at least, in [0, 1]; taken as the nearest fraction with
        a denominator of at most 32768, so that counts are exact integers.
    """
    values = jax.lax.stop_gradient(values.astype(jnp.float32))
    # "not below" rather than "above or equal" keeps NaN.
    hard = valid & ~(values < -math.log(threshold))
    kept_at_least = _ceil_share(_count(valid), min_kept_fraction)
    return jax.lax.cond(
        _count(hard) >= kept_at_least,
        lambda: hard,
        lambda: valid & (_ordered_bits(values) >= _kth_largest_bits(values, valid, kept_at_least)),
    )


def largest(values: Float[Array, "*b"], valid: Bool[Array, "*b"], share: Float[Array, ""]) -> Bool[Array, "*b"]:
    """Of the valid values the largest ones, which are the given share of them, and all that tie with the last one.

    Args:
      values: float32, not negative.
      valid: which values count.
      share: 0 to 1; the number is rounded, and 0 gives none.
    """
    count = jnp.round(share * _count(valid)).astype(jnp.int32)
    lowest = _kth_largest_bits(values, valid, jnp.maximum(count, 1))
    return valid & (_ordered_bits(values) >= lowest) & (count > 0)


def _count(mask: Bool[Array, "*b"]) -> Int[Array, ""]:
    return mask.sum(dtype=jnp.int32)


def _ceil_share(count: Int[Array, ""], share: float) -> Int[Array, ""]:
    """ceil(count * share) in int32: float32 cannot count beyond 2**24 pixels, and count * numerator could overflow."""
    fraction = fractions.Fraction(share).limit_denominator(_MAX_DENOMINATOR)
    n, d = fraction.numerator, fraction.denominator
    return count // d * n + (count % d * n + d - 1) // d


def _ordered_bits(values: Float[Array, "*b"]) -> Int[Array, "*b"]:
    """int32 in the same order as the non-negative float32 values; the mask makes -0.0 the same as 0.0."""
    return jax.lax.bitcast_convert_type(values, jnp.int32) & 0x7FFFFFFF


def _kth_largest_bits(values: Float[Array, "*b"], valid: Bool[Array, "*b"], k: Int[Array, ""]) -> Int[Array, ""]:
    """Bits of the k-th largest valid value, exactly, for 1 <= k <= number of valid pixels.

    Finds the largest bit pattern that at least k values reach, from the highest bit down. A sort or a top-k would
    gather all values on every device; this needs 31 passes of counting.
    """
    bits = jnp.where(valid, _ordered_bits(values), -1)

    def try_bit(i: jax.typing.ArrayLike, found: Int[Array, ""]) -> Int[Array, ""]:
        candidate = found | (jnp.int32(1) << (30 - i))
        return jnp.where(_count(bits >= candidate) >= k, candidate, found)

    return jax.lax.fori_loop(0, 31, try_bit, jnp.int32(0))
