"""What a training stage's steps take: crops of its images, as its samplers plan them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax

from csst_jax.data import sampling
from csst_jax.data.crop_plan import batch_specs
from csst_jax.data.kept import kept_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from csst_jax.data.crop_plan import BatchSpec, Sampler
    from csst_jax.data.sampling import Images
    from csst_jax.settings.run import Input
    from csst_jax.settings.training import Training
    from csst_jax.train.loop import Batch
    from csst_jax.types import Phase


class Feed:
    """This process's share of the crops of every step, from any step on."""

    def __init__(
        self,
        training: Training,
        images: Mapping[str, Images],
        samplers: Mapping[str, Sampler],
        phases: Sequence[Phase],
        seed: int,
        given: Input,
    ):
        """Nothing is read yet.

        Args:
          training: the stage's settings.
          images: by origin.
          samplers: by stream.
          phases: one an epoch.
          seed: of the samples.
          given: how images are read.
        """
        self._training, self._samplers, self._phases, self._seed, self._given = training, samplers, phases, seed, given
        self._readers = sampling.readers(images)

    def batches(self, start_step: int) -> Iterator[Batch]:
        """Arrays by stream, read ahead."""
        from csst_jax.data.batches import batches  # imports TensorFlow; meanwhile the first step is compiled

        readers = kept_in_memory(self._readers, self._given.cache_mb * 2**20)
        return batches(
            self._specs(start_step, jax.process_index(), jax.process_count()),
            self._training.streams,
            readers,
            parallel_batches=self._given.parallel_batches,
            prefetch=self._given.prefetch,
        )

    def described(self, step: int) -> list[str]:
        """What the crops of a step are of in all processes, for people, in the order of the batch."""
        rows = next(self._specs(step, 0, 1)).rows
        names = (self._readers[row["origin"]].describe(int(row["record"])) for row in rows)
        return [f"{name} at ({row['y']:.0f}, {row['x']:.0f})" for name, row in zip(names, rows, strict=True)]

    def _specs(self, start_step: int, process: int, processes: int) -> Iterator[BatchSpec]:
        scales, share = self._training.sampling.scale_range, (process, processes)
        return batch_specs(self._training.streams, self._samplers, self._phases, self._seed, scales, start_step, *share)
