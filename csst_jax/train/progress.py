"""The progress line of a training stage."""

from __future__ import annotations

import collections
import logging
import time
from typing import TYPE_CHECKING

from csst_jax.runtime.patience import FIRST_S, SILENT_S, clock_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.types import Phase

log = logging.getLogger(__name__)

_LINES = 6
"""The rate is that of so many lines: it forgets the first steps, beside which later sizes' steps are compiled."""


class Progress:
    """Counts what passed since the last line and what is left.

    Time left is estimated by pixels, not steps: steps of different phases cost differently. Compilation and what else
    comes before the first step are no part of any rate.
    """

    def __init__(self, name: str, phases: Sequence[Phase], start_step: int):
        self._name = name
        self._total = sum(phase.steps for phase in phases)
        self._begin = self._said = self._stepped = time.perf_counter()
        self._step = start_step
        self._paused = 0.0
        self._waited = 0.0
        self._images = 0
        self._left = sum(phase.steps * _pixels(phase) for phase in phases)
        self._done = 0
        for phase in phases:  # those before the start are over
            over = min(start_step, phase.steps)
            self._left -= over * _pixels(phase)
            start_step -= over
        # Seconds of training and pixels at the last lines.
        self._marks = collections.deque([(0.0, 0)], maxlen=_LINES + 1)

    def waited(self, seconds: float) -> None:
        """Adds time that a step waited for input."""
        self._waited += seconds

    def paused(self, seconds: float) -> None:
        """Takes time out of all rates: what a step waited for its program, or the first one for everything."""
        self._paused += seconds

    def stepped(self, phase: Phase) -> None:
        """Notes that a step of `phase` was dispatched; where steps take long, says so between two lines."""
        self._images += phase.global_batch
        self._done += _pixels(phase)
        self._step += 1
        now = time.perf_counter()
        took, self._stepped = now - self._stepped, now
        if now - self._said + took > SILENT_S - FIRST_S:  # the next step, or what follows it, would come too late
            self._said = now
            log.info("%s %d/%d", self._name, self._step, self._total)

    def line(self, step: int, phase: Phase, scalars: dict[str, float]) -> dict[str, float]:
        """Logs the line after `step` steps and returns its rates as metrics.

        Returns:
          `images_per_s` and `input_wait_share` since the last line, and `left_s`.
        """
        now = time.perf_counter() - self._begin - self._paused
        elapsed = max(now - self._marks[-1][0], 1e-9)
        self._marks.append((now, self._done))
        begin, done = self._marks[0]
        per_pixel = max(now - begin, 0.0) / max(self._done - done, 1)
        rates = {
            "images_per_s": self._images / elapsed,
            "input_wait_share": min(1.0, self._waited / elapsed),
            "left_s": per_pixel * (self._left - self._done),
        }
        log.info(
            "%s %d/%d  loss %.3f  lr %.2e  crop %d x batch %d  %.1f images/s  input wait %.0f%%  left %s",
            self._name,
            step,
            self._total,
            scalars["loss"],
            scalars["learning_rate"],
            phase.crop_px,
            phase.global_batch,
            rates["images_per_s"],
            100 * rates["input_wait_share"],
            clock_time(rates["left_s"]),
        )
        self._waited, self._images, self._said = 0.0, 0, time.perf_counter()
        return rates


def _pixels(phase: Phase) -> int:
    return phase.global_batch * phase.crop_px**2
