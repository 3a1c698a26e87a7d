"""Centroid sampling (paper §3.2): in every epoch, the same number of crops is taken around centroids of each class."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np

from csst_jax.samplers import plan as plans
from csst_jax.samplers.candidates import Candidates
from csst_jax.types import CsstError

_log = logging.getLogger(__name__)


class CentroidSampler:
    """Draws N/K centroids from each class, without replacement until a class is exhausted, then over again.

    N is the number of samples of an epoch, and K the number of classes with a centroid. Classes without a centroid are
    named once in a warning. If N is not a multiple of K, the remaining samples go to classes that are drawn anew in
    each epoch.
    """

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """This sampler has no settings of its own."""

    @classmethod
    def make(cls, settings: Settings, candidates: Candidates) -> CentroidSampler:
        """Over the components of the candidates."""
        del settings
        return cls(candidates.components(), candidates.classes, real_share=candidates.real_share)

    def __init__(self, pool: np.ndarray, class_names: Sequence[str], *, real_share: float | None = None) -> None:
        """Sorts the pool by class.

        Args:
          pool: every component that may be drawn, array of PLAN_DTYPE, shape [n].
          class_names: of the C classes, in the order of their numbers; for messages.
          real_share: share, from 0 to 1, of a class's draws that come from origin 0 (real labels) if origin 0 and
            another origin both have the class; None draws from their union, as the paper does.

        Raises:
          CsstError: the pool is empty, or holds a class outside 0..C-1.
        """
        num_classes = len(class_names)
        if len(pool) == 0:
            raise CsstError(
                "there is no centroid to sample: the labels have no pixel of any class, or every component is smaller "
                "than the minimum area. Check the labels, or lower the minimum area."
            )
        klass = pool["klass"]
        outside = (klass < 0) | (klass >= num_classes)
        if outside.any():
            raise CsstError(
                f"the centroid index has {int(outside.sum())} components of class {int(klass[outside][0])}, outside "
                f"0..{num_classes - 1}; make the index again with this data set's classes."
            )
        # Within a class real components come first, so that both the class and its real part are ranges.
        self._pool = pool[np.lexsort((pool["origin"] != 0, klass))]
        self._size = np.bincount(klass, minlength=num_classes)
        self._real = np.bincount(klass[pool["origin"] == 0], minlength=num_classes)
        self._start = np.cumsum(self._size) - self._size
        self._present = np.flatnonzero(self._size)
        self._real_share = real_share
        missing = [class_names[c] for c in np.flatnonzero(self._size == 0).tolist()]
        if missing:
            real = pool["origin"] == 0
            where = "masks" if real.all() else "pseudo labels" if not real.any() else "masks and pseudo labels"
            _log.warning("%s: no centroid of %s. Other crops take their share.", where, ", ".join(missing))

    @property
    def num_present(self) -> int:
        """Number of classes that have a centroid."""
        return len(self._present)

    def plan(self, epoch: int, seed: int, num_samples: int) -> np.ndarray:
        """The samples of one epoch; depends on the arguments alone. See `draw`."""
        return self.draw(plans.generator(epoch, seed), num_samples)

    def draw(self, rng: np.random.Generator, num_samples: int) -> np.ndarray:
        """The samples of one epoch.

        The order goes through the classes again and again: each pass has every class once, in random order. So a global
        batch of any size mixes classes evenly. A class's components repeat only after all of them were drawn.

        Returns:
          Array of PLAN_DTYPE, shape [num_samples].
        """
        quota, rest = divmod(num_samples, len(self._present))
        counts = np.full(len(self._present), quota)
        counts[rng.choice(len(self._present), rest, replace=False)] += 1
        drawn = [self._positions(rng, c, n) for c, n in zip(self._present.tolist(), counts.tolist(), strict=True)]
        rounds = np.concatenate([np.arange(n) for n in counts])
        order = np.lexsort((rng.random(num_samples), rounds))
        return self._pool[np.concatenate(drawn)[order]]

    def _positions(self, rng: np.random.Generator, c: int, count: int) -> np.ndarray:
        """Positions in the sorted pool of `count` components of class c, in the order of their use."""
        size, real = int(self._size[c]), int(self._real[c])
        return self._start[c] + plans.shared_permutations(rng, size, real, count, self._real_share)
