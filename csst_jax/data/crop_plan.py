"""What the crops of a run are cut from, step by step: data that is computed without reading an image.

Which component of which image goes where is known for every step from any step on: resuming is seeking. NumPy alone.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

import numpy as np

from csst_jax.samplers.plan import process_slice
from csst_jax.streams import crops_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from csst_jax.streams import Stream
    from csst_jax.types import Phase


class Sampler(Protocol):
    """See `csst_jax.samplers`: a pure plan of an epoch."""

    def plan(self, epoch: int, seed: int, num_samples: int) -> np.ndarray:
        """`num_samples` rows of `PLAN_DTYPE`."""
        ...


@dataclasses.dataclass(frozen=True)
class BatchSpec:
    """One process's share of one step: the crops of all streams, one stream after the other.

    Attributes:
      crop_px: side of the crops.
      counts: crops by stream, in order.
      rows: samples (`PLAN_DTYPE`), one a crop.
      scales: float32, one a crop.
      samples: int32 [b, 2], (epoch, position in the epoch) of each crop among its stream's.
    """

    crop_px: int
    counts: Mapping[str, int]
    rows: np.ndarray
    scales: np.ndarray
    samples: np.ndarray


def batch_specs(
    streams: Sequence[Stream],
    samplers: Mapping[str, Sampler],
    phases: Sequence[Phase],
    seed: int,
    scale_range: tuple[float, float],
    start_step: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[BatchSpec]:
    """The rest of a run as one spec a step, from `start_step` on. Pure: no reading, no decoding.

    Args:
      streams: of the method.
      samplers: by stream.
      phases: one an epoch.
      seed: the run's.
      scale_range: scales are drawn uniformly from it (paper §4.2: 0.5 to 2.0), by (seed, epoch, position) alone.
      start_step: steps that are over.
      process_index: this process.
      process_count: how many share a step's crops.
    """
    first = 0
    for epoch, phase in enumerate(phases):
        if first + phase.steps > start_step:
            counts = crops_of(streams, phase.global_batch)
            plans = [
                _epoch(samplers[name], epoch, phase.steps * count, seed, number, scale_range)
                for number, (name, count) in enumerate(counts.items())
            ]
            for step in range(max(0, start_step - first), phase.steps):
                parts = []
                for count, columns in zip(counts.values(), plans, strict=True):
                    whole = np.arange(step * count, (step + 1) * count)
                    mine = process_slice(whole, process_index, process_count)
                    parts.append([column[mine] for column in columns])
                own = {name: len(part[0]) for name, part in zip(counts, parts, strict=True)}
                yield BatchSpec(phase.crop_px, own, *(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        first += phase.steps


def _epoch(
    sampler: Sampler, epoch: int, total: int, seed: int, number: int, scale_range: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, scales and (epoch, position) of all crops of a stream in an epoch; `number` is the stream's."""
    plan = sampler.plan(epoch, seed + number * 2**32, total)
    # Key 1 and above keep these draws apart from the samplers', which use (seed, epoch) without it.
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch, 1 + number))))
    scales = generator.uniform(*scale_range, size=total).astype(np.float32)
    samples = np.stack([np.full(total, epoch, np.int32), np.arange(total, dtype=np.int32)], axis=1)
    return plan, scales, samples
