"""Which epoch a step is in."""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.types import Phase


class Timetable:
    """Which epoch a step is in; as large as there are epochs, however many steps they have."""

    def __init__(self, phases: Sequence[Phase]):
        self._ends = list(itertools.accumulate(phase.steps for phase in phases))

    @property
    def total(self) -> int:
        """Steps of all epochs."""
        return self._ends[-1] if self._ends else 0

    def epoch(self, step: int) -> int:
        """The epoch (from 0) of a step (from 0); of the step after the last one, the number of epochs."""
        return bisect.bisect_right(self._ends, step)

    def end(self, epoch: int) -> int:
        """Steps that are over after an epoch (from 0)."""
        return self._ends[epoch]
