"""Uniform image sampling: the paper's "without centroid sampling" (table 1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from csst_jax.samplers import plan as plans
from csst_jax.samplers.candidates import Candidates
from csst_jax.types import CsstError


class UniformImageSampler:
    """Draws each image once, in random order, until all are used, then over again; the crop's place is uniform."""

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """None of its own."""

    @classmethod
    def make(cls, settings: Settings, candidates: Candidates) -> UniformImageSampler:
        """Over the images of the candidates."""
        del settings
        return cls(candidates.images(), real_share=candidates.real_share)

    def __init__(
        self, images: Sequence[tuple[int, int, int, int]] | np.ndarray, *, real_share: float | None = None
    ) -> None:
        """Takes the images.

        Args:
          images: (origin, record, height, width) of each, sizes in pixels.
          real_share: share, from 0 to 1, of the draws that come from origin 0 (real labels) where there is another
            origin too; None draws from their union.

        Raises:
          CsstError: there is no image, or one has no pixel.
        """
        table = np.asarray(images, dtype=np.int64).reshape(-1, 4)
        if len(table) == 0:
            raise CsstError("there is no image to sample: the split or the id list is empty.")
        if (table[:, 2:] < 1).any():
            origin, record, height, width = table[(table[:, 2:] < 1).any(axis=1)][0]
            raise CsstError(f"image {record} of origin {origin} has the size {height}x{width}; it has no pixel.")
        self._images = table[np.argsort(table[:, 0] != 0, kind="stable")]  # real ones first
        self._real = int((table[:, 0] == 0).sum())
        self._real_share = real_share

    def plan(self, epoch: int, seed: int, num_samples: int) -> np.ndarray:
        """The samples of one epoch; depends on the arguments alone. See `draw`."""
        return self.draw(plans.generator(epoch, seed), num_samples)

    def draw(self, rng: np.random.Generator, num_samples: int) -> np.ndarray:
        """The samples of one epoch.

        Returns:
          Array of PLAN_DTYPE, shape [num_samples]; `klass` is -1, and (y, x) is uniform between the centres of the
          image's first and last pixels.
        """
        drawn = plans.shared_permutations(rng, len(self._images), self._real, num_samples, self._real_share)
        images = self._images[drawn]
        point = rng.random((num_samples, 2)) * (images[:, 2:] - 1)
        plan = np.empty(num_samples, plans.PLAN_DTYPE)
        plan["origin"], plan["record"] = images[:, 0], images[:, 1]
        plan["y"], plan["x"] = point[:, 0], point[:, 1]
        plan["klass"] = -1
        return plan
