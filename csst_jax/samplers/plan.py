"""A plan says which crop goes where: one record a sample, in the order that the epoch sees them.

A plan is data, not an iterator: it depends on (epoch, seed, number of samples) alone, every process computes the whole
of it and takes its slice, and resuming is seeking.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from csst_jax.types import CsstError

PLAN_DTYPE = np.dtype([("origin", "i4"), ("record", "i4"), ("y", "f4"), ("x", "f4"), ("klass", "i4")])
"""One sample: `origin` numbers where the image is from (0 = real labels), `record` is the image there, (`y`, `x`) the
point to crop around in pixels of the original image, and `klass` the class that the point was drawn for (-1: none)."""


class Components(Protocol):
    """The columns of a centroid index that a pool is made of; all of shape [n]."""

    @property
    def record(self) -> np.ndarray:
        """Record (image) of each component in its images."""

    @property
    def klass(self) -> np.ndarray:
        """Class of each component."""

    @property
    def y(self) -> np.ndarray:
        """Row of each centroid in pixels."""

    @property
    def x(self) -> np.ndarray:
        """Column of each centroid in pixels."""

    @property
    def area(self) -> np.ndarray:
        """Pixels of each component."""


def pool_from_index(
    index: Components, origin: int, keep_records: Iterable[int] | None = None, min_area_px: int | np.ndarray = 0
) -> np.ndarray:
    """Connected components of one origin that may be sampled.

    Args:
      index: components, one row each; areas in pixels.
      origin: number of this origin in the plan.
      keep_records: records (images) to keep, for example those of a label fraction; None keeps all.
      min_area_px: components with fewer pixels are dropped (specks of pseudo labels crowd the index); 0 keeps all. One
        number, or int64 [C] by class.

    Returns:
      Array of PLAN_DTYPE, shape [components kept], in the index's order.
    """
    record = np.asarray(index.record)
    smallest = min_area_px if isinstance(min_area_px, int) else min_area_px[np.asarray(index.klass)]
    keep = np.asarray(index.area) >= smallest
    if keep_records is not None:
        keep &= np.isin(record, np.fromiter(keep_records, dtype=np.int64))
    pool = np.empty(int(keep.sum()), PLAN_DTYPE)
    pool["origin"] = origin
    pool["record"] = record[keep]
    pool["y"] = np.asarray(index.y)[keep]
    pool["x"] = np.asarray(index.x)[keep]
    pool["klass"] = np.asarray(index.klass)[keep]
    return pool


def concatenate(pools: Sequence[np.ndarray]) -> np.ndarray:
    """Union of the pools (paper §3.2: real and pseudo labels share one dictionary); no pool gives an empty one."""
    return np.concatenate([np.empty(0, PLAN_DTYPE), *pools])


def process_slice(plan_for_batch: np.ndarray, process_index: int, process_count: int) -> np.ndarray:
    """The part of one global batch that a process reads: contiguous, in process order, without overlap.

    Args:
      plan_for_batch: the plan of one global batch, shape [global_batch].
      process_index: this process, 0 <= process_index < process_count.
      process_count: number of processes.

    Returns:
      A view of shape [global_batch / process_count].

    Raises:
      CsstError: the batch is not divisible by the number of processes.
    """
    if not 0 <= process_index < process_count:
        raise CsstError(f"process {process_index} is outside the {process_count} processes of this run.")
    size, rest = divmod(len(plan_for_batch), process_count)
    if rest:
        raise CsstError(
            f"a global batch of {len(plan_for_batch)} is not divisible by {process_count} processes; "
            f"make the batch a multiple of {process_count}."
        )
    return plan_for_batch[process_index * size : (process_index + 1) * size]


def generator(epoch: int, seed: int) -> np.random.Generator:
    """Random numbers of one epoch: Philox keyed by (seed, epoch), so that epochs need no history.

    Both are taken modulo 2**64.
    """
    key = np.array([seed % 2**64, epoch % 2**64], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def repeated_permutations(rng: np.random.Generator, size: int, count: int) -> np.ndarray:
    """`count` draws from range(size) without replacement until all are used, then again by a new permutation.

    Returns:
      int64 indices of shape [count]; every run of `size` draws that starts at a multiple of `size` is a permutation.
    """
    if count == 0:
        return np.empty(0, np.int64)
    passes = -(-count // size)
    # One vectorised call: a rare class with a single component is drawn thousands of times in an epoch.
    order = rng.permuted(np.broadcast_to(np.arange(size), (passes, size)), axis=1)
    return order.reshape(-1)[:count]


def require_share(name: str, share: float) -> None:
    """Refuses what is no share of draws.

    Raises:
      CsstError: it is outside 0..1.
    """
    if not 0 <= share <= 1:
        raise CsstError(f"{name} is {share}; give a share between 0 and 1.")


def shared_permutations(
    rng: np.random.Generator, size: int, real: int, count: int, real_share: float | None
) -> np.ndarray:
    """`count` draws from range(size), of which the first `real` are real labels and the others pseudo labels.

    Args:
      rng: source of the order.
      size: how many there are to draw from.
      real: how many of them are real.
      count: how many to draw.
      real_share: share of the draws from the real ones where there are both; None draws from the union.

    Returns:
      int64 indices of shape [count], each part by `repeated_permutations`.
    """
    if real_share is None or real == 0 or real == size:
        return repeated_permutations(rng, size, count)
    # The added uniform number makes the share exact on average even where there are few draws an epoch.
    real_count = min(count, int(real_share * count + rng.random()))
    is_real = rng.permutation(count) < real_count
    drawn = np.empty(count, np.int64)
    drawn[is_real] = repeated_permutations(rng, real, real_count)
    drawn[~is_real] = real + repeated_permutations(rng, size - real, count - real_count)
    return drawn
