"""One compiled step per distinct (crop, batch), made ahead of time in the background (paper §3.3)."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from csst_jax.planning.cost import flops, memory_bytes
from csst_jax.runtime import durations
from csst_jax.runtime.patience import told
from csst_jax.train.step import step_program

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Sequence

    import jax

    from csst_jax.train.step import Recipe
    from csst_jax.types import Phase

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.2


@dataclasses.dataclass(frozen=True)
class Compilation:
    """What compiling one phase cost and gave.

    Attributes:
      crop_px: the phase's crop.
      global_batch: the phase's batch.
      seconds: wall seconds to trace, lower and compile, or to load from the persistent cache.
      flops: floating point operations of one step per device, as the compiler counts them; None where it does not say.
      memory_bytes: arguments, results, temporaries and code of one step per device; None where it does not say.
    """

    crop_px: int
    global_batch: int
    seconds: float
    flops: float | None
    memory_bytes: int | None


def distinct_phases(phases: Sequence[Phase]) -> list[Phase]:
    """The first phase of every compile key, in the order in which they are needed."""
    first: dict[tuple[int, int], Phase] = {}
    for phase in phases:
        first.setdefault(phase.compile_key, phase)
    return list(first.values())


class StepBank:
    """Compiled steps by phase, made in one background thread, in order of need.

    The first one is traced at construction, in this thread, whose next work is to import TensorFlow: Python lets one of
    the two run at a time, and compilation beside either. The others are begun at `compile_rest`, or when one of them is
    asked for: tracing them would hold up the first step.
    Calling a compiled step with other shapes is an error, so what is compiled here is all that is ever compiled.
    """

    def __init__(self, recipe: Recipe, phases: Sequence[Phase]):
        self.compilations: list[Compilation] = []
        self._parameters = sum(np.size(value) for value in recipe.method.trained()[0].values())
        self._executor = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="compile")
        distinct = distinct_phases(phases)
        self._numbers = {phase.compile_key: number for number, phase in enumerate(distinct, 1)}
        self._steps: dict[tuple[int, int], concurrent.futures.Future[Any]] = {}
        self._recipe, self._rest = recipe, distinct[1:]
        for phase in distinct[:1]:
            begun = time.perf_counter()
            log.info(
                "compiling %s%s; training begins then%s",
                self._words(phase),
                durations.words(self._key(phase)),
                "" if len(distinct) == 1 else ", the others are compiled beside it",
            )
            lowered = step_program(recipe, phase).lower()
            self._steps[phase.compile_key] = self._executor.submit(self._compile, phase, begun, lowered)

    def compile_rest(self) -> None:
        """Begins to compile the steps of all later phases."""
        for phase in self._rest:
            self._steps[phase.compile_key] = self._executor.submit(self._make, phase)
        self._rest = []

    def __getitem__(self, phase: Phase) -> Any:
        """The compiled step of a phase; waits until it is there and raises what compiling raised."""
        begun = self._begun(phase)
        if not begun.done():
            with self._told(phase):
                concurrent.futures.wait([begun])
        return begun.result()

    def wait(self, phase: Phase, given_up: Callable[[], bool]) -> bool:
        """Waits for the step of a phase.

        Returns:
          False as soon as the wait is given up; compiling takes minutes.
        """
        begun = self._begun(phase)
        if begun.done():
            return True
        with self._told(phase):
            while not concurrent.futures.wait([begun], _LOOK_EVERY_S).done:
                if given_up():
                    return False
        return True

    def close(self) -> None:
        """Drops compilations that have not begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _begun(self, phase: Phase) -> concurrent.futures.Future[Any]:
        if phase.compile_key not in self._steps:
            self.compile_rest()
        return self._steps[phase.compile_key]

    def _told(self, phase: Phase) -> contextlib.AbstractContextManager[None]:
        known = durations.words(self._key(phase))
        return told(f"waiting for {self._words(phase)}{known}")

    def _words(self, phase: Phase) -> str:
        number, size = self._numbers[phase.compile_key], f"{phase.crop_px} x {phase.crop_px} px"
        return f"program {number} of {len(self._numbers)}, the training step for {size}, batch {phase.global_batch}"

    def _key(self, phase: Phase) -> str:
        return durations.key("train", self._parameters, phase.crop_px, phase.global_batch)

    def _make(self, phase: Phase) -> Any:
        begun = time.perf_counter()
        return self._compile(phase, begun, step_program(self._recipe, phase).lower())

    def _compile(self, phase: Phase, begun: float, lowered: jax.stages.Lowered) -> Any:
        compiled = lowered.compile()
        made = Compilation(
            phase.crop_px, phase.global_batch, time.perf_counter() - begun, flops(compiled), memory_bytes(compiled)
        )
        self.compilations.append(made)
        durations.note(self._key(phase), made.seconds)
        log.info(
            "compiled step for %d x %d px, batch %d: %.1f s%s%s",
            made.crop_px,
            made.crop_px,
            made.global_batch,
            made.seconds,
            "" if made.flops is None else f", {made.flops / 1e9:.1f} GFLOP",
            "" if made.memory_bytes is None else f", {made.memory_bytes / 2**20:.0f} MiB",
        )
        return compiled
