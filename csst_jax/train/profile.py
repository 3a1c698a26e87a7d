"""A trace of some training steps, for TensorBoard's profile page or Perfetto (`profile.steps`)."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from csst_jax.runtime.storage import StoragePath

log = logging.getLogger(__name__)

PROFILE = "profile"
"""Directory of the trace, in the stage's."""


class Profile:
    """Traces the first process from one step to another; the steps themselves stay as they are."""

    def __init__(self, directory: StoragePath, steps: tuple[int, ...]):
        """Traces nothing yet.

        Args:
          directory: to write to; in a bucket there is no trace, and a warning says so.
          steps: the first and the last one, counted from 1; empty for none.
        """
        self._directory, self._tracing = directory, False
        self._steps = steps if jax.process_index() == 0 else ()
        if self._steps and not isinstance(directory, pathlib.Path):
            log.warning("profile.steps: a trace is written to a local disk alone; give a local --workdir for it.")
            self._steps = ()

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[Callable[[Any], None]]:
        """One step, counted from 1; it tells what it computed, which the last step of the trace waits for."""
        if not self._steps or not self._steps[0] <= number <= self._steps[1]:
            yield lambda _: None
            return
        if not self._tracing:
            jax.profiler.start_trace(os.fspath(self._directory))
            self._tracing = True
        results: list[Any] = []
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            yield results.append
        if number == self._steps[1]:
            jax.block_until_ready(results)
            self.close()
            log.info("trace of steps %d to %d in %s", *self._steps, self._directory)

    def close(self) -> None:
        """Ends a trace that has begun."""
        if self._tracing:
            jax.profiler.stop_trace()
            self._tracing = False
