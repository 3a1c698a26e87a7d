"""The training loop: from the newest checkpoint to the last step of the last phase."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from csst_jax.runtime.host_memory import keep_freed_memory
from csst_jax.runtime.patience import told
from csst_jax.runtime.signals import StopRequest
from csst_jax.streams import STEP
from csst_jax.train.agreement import Agreement, votes
from csst_jax.train.compile import Compilation, StepBank
from csst_jax.train.nonfinite import NonFiniteSteps, first_not_finite
from csst_jax.train.profile import PROFILE, Profile
from csst_jax.train.progress import Progress
from csst_jax.train.sharding import input_shardings
from csst_jax.train.timetable import Timetable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from clu import metric_writers

    from csst_jax.models.nnx_io import Arrays
    from csst_jax.train.checkpoint import Checkpoints
    from csst_jax.train.step import Recipe, StepArrays
    from csst_jax.train.watch import Watch
    from csst_jax.train_state import TrainState
    from csst_jax.types import Phase

log = logging.getLogger(__name__)

Batch = dict[str, dict[str, np.ndarray]]
"""From the name of a stream and of an array to the array: one process's share of a step's crops."""


@dataclasses.dataclass(frozen=True)
class TrainingRun:
    """One stage's training, ready to go.

    Attributes:
      name: the stage, for messages.
      recipe: what a step is made of.
      phases: one for each epoch.
      learning_rates: float32 [total steps], the schedule evaluated at every step.
      seed: seed of the device's random numbers.
      batches: from a step to an iterator over the input from that step on; one process's share.
      checkpoints: where states are saved.
      make_writer: from the step at which training starts to the metric writer.
      log_every_steps: steps between two progress lines.
      checkpoint_every_s: seconds between two checkpoints.
      nonfinite_steps: steps that may be left out because their loss or gradient is not finite.
      samples: from a step to a description of each of its crops (image, place), over all processes.
      watch: looks at the state now and then, for scores and snapshots; None for neither.
      profile_steps: first and last step of a trace, counted from 1; empty for none.
    """

    name: str
    recipe: Recipe
    phases: Sequence[Phase]
    learning_rates: np.ndarray
    seed: int
    batches: Callable[[int], Iterator[Batch]]
    checkpoints: Checkpoints
    make_writer: Callable[[int], metric_writers.MetricWriter]
    log_every_steps: int
    checkpoint_every_s: float
    nonfinite_steps: int
    samples: Callable[[int], list[str]]
    watch: Watch | None = None
    profile_steps: tuple[int, ...] = ()


def train(run: TrainingRun) -> tuple[TrainState, list[Compilation]]:
    """Trains to the end and saves the last state.

    Returns:
      The final state and what was compiled in this process.

    Raises:
      NonFiniteLoss: a loss or gradient was not finite in more steps than allowed; names the step and the last good
        checkpoint.
      Preempted: SIGTERM or Ctrl-C came; the state is saved.
      CheckpointError: saving failed; earlier checkpoints are intact.
    """
    timetable = Timetable(run.phases)
    with told(f"{run.name}: looking for checkpoints"):
        state = run.checkpoints.restore_newest(run.recipe.abstract_state())
    if state is None:
        with told(f"{run.name}: putting the network on the devices"):
            state = _initial_state(run.recipe)
    else:
        # The donated state must own its memory: a restored array may share it with the host's copy. It goes by the same
        # name, so that what was restored does not stay on the devices.
        state = jax.tree.map(lambda x: x.copy(), state)
        log.info("%s: resuming at step %d of %d", run.name, int(state.step), timetable.total)
    start = int(state.step)
    # Epochs that are over need no step.
    with told(f"{run.name}: tracing the first training step"):
        bank = StepBank(run.recipe, run.phases[timetable.epoch(start) :])
    with told(f"{run.name}: importing TensorFlow, which reads the images"):
        writer = run.make_writer(start)
    monitor = _Monitor(run, timetable, writer, start)
    profile = Profile(run.checkpoints.directory.parent / PROFILE, run.profile_steps)
    last_save = time.monotonic()
    agree = Agreement(start)
    try:
        with StopRequest() as stop:
            batches = run.batches(start)
            if start < timetable.total:
                monitor.look(start, state, stop)  # if it was due when the run was stopped
            for step in range(start, timetable.total):
                phase = run.phases[timetable.epoch(step)]
                before = time.perf_counter()
                with told(f"{run.name}: reading the first crops") if step == start else contextlib.nullcontext():
                    crops = next(batches)
                monitor.waited(step, time.perf_counter() - before)
                if step == start:
                    keep_freed_memory()  # TensorFlow sets the allocator back when it makes its first generator
                before = time.perf_counter()
                # Once there is something to save, other processes have a say in it, and can be asked only after a step.
                alone = step == start or jax.process_count() == 1
                if alone and not bank.wait(phase, lambda: stop.requested):
                    if step > start:
                        monitor.save(state)
                        run.checkpoints.wait()
                    words = f"saved step {step} of {timetable.total}" if step else "nothing to save yet"
                    raise stop.preempted(run.name, words)
                compiled = bank[phase]
                monitor.progress.paused(time.perf_counter() - before)
                batch = device_batch(run.recipe, crops, run.seed, run.learning_rates[step])
                with profile.step(step + 1) as watched:
                    state, metrics = compiled(state, batch)
                    watched(metrics)
                monitor.stepped(step, phase, metrics, state)
                done = step + 1
                if step == start:
                    bank.compile_rest()
                    if run.watch is not None:
                        run.watch.prepare()
                monitor.look(done, state, stop)
                due = time.monotonic() - last_save >= run.checkpoint_every_s
                stop_now, save_now = agree(done, phase.compile_key, stop.requested, due)
                if stop_now or save_now:
                    monitor.save(state)
                    last_save = time.monotonic()
                if stop_now and done < timetable.total:
                    run.checkpoints.wait()
                    raise stop.preempted(run.name, f"saved step {done} of {timetable.total}")
            with told(f"{run.name}: saving the last checkpoint"):
                monitor.save(state)
                run.checkpoints.wait()
            if jax.process_count() > 1 and votes(stop.requested).any():
                raise stop.preempted(run.name, "saved its last step")
    finally:
        profile.close()
        if run.watch is not None:
            run.watch.close()
        bank.close()
        writer.close()
    return state, bank.compilations


def _initial_state(recipe: Recipe) -> TrainState:
    """Step 0 on the devices, in memory of its own; one program, where each array would have been one."""

    def first_state(params: Arrays, batch_stats: Arrays) -> TrainState:
        return recipe.initial_state(*jax.tree.map(jnp.copy, (params, batch_stats)))

    layout = jax.tree.map(lambda x: x.sharding, recipe.abstract_state())
    made = jax.jit(first_state, out_shardings=layout)
    return made(*jax.tree.map(np.asarray, recipe.method.trained()))


def device_batch(recipe: Recipe, crops: Batch, seed: int, learning_rate: float) -> StepArrays:
    """One step's input on the devices.

    Args:
      recipe: of the step.
      crops: this process's share of each stream's arrays.
      seed: the run's.
      learning_rate: of the step.
    """
    scalars = {"seed": np.asarray(seed, np.uint32), "learning_rate": np.asarray(learning_rate, np.float32)}
    layouts = input_shardings(recipe.streams, recipe.mesh)
    return jax.tree.map(jax.make_array_from_process_local_data, layouts, crops | {STEP: scalars})


class _Monitor:
    """Fetches metrics some steps late, so that the device never waits for the host."""

    def __init__(self, run: TrainingRun, timetable: Timetable, writer: metric_writers.MetricWriter, start: int):
        self._run, self._timetable, self._writer = run, timetable, writer
        self._pending: list[tuple[int, dict[str, jax.Array]]] = []
        self.progress = Progress(run.name, run.phases, start)
        self._start = self._checked = start
        if run.watch is not None:
            run.watch.begin(start)
        directory = run.checkpoints.directory.parent
        self._nonfinite = NonFiniteSteps(run.name, run.nonfinite_steps, directory, self._explain, start)

    def waited(self, step: int, seconds: float) -> None:
        """Counts a wait for input. The wait before the first step belongs to the start, and counts in no rate."""
        (self.progress.paused if step == self._start else self.progress.waited)(seconds)

    def stepped(self, step: int, phase: Phase, metrics: dict[str, jax.Array], state: TrainState) -> None:
        self._pending.append((step, metrics))
        self.progress.stepped(phase)
        if len(self._pending) > 2:
            # Bounds how far dispatch runs ahead of the device, and with it the memory that queued batches hold.
            jax.block_until_ready(self._pending[-3][1]["loss"])
        if (step + 1) % self._run.log_every_steps == 0 or step + 1 == self._timetable.total:
            self._report(phase, state)

    def look(self, step: int, state: TrainState, stop: StopRequest) -> None:
        """Lets the watch look at the state, if it is due. The time counts in no rate."""
        watch = self._run.watch
        if watch is None or not watch.due(step):
            return
        jax.block_until_ready(state.step)
        begin = time.perf_counter()
        # Several processes look together, so that none can stop while the others look.
        alone = jax.process_count() == 1 and step < self._timetable.total
        watch.look(step, state, self._writer, lambda: alone and stop.requested)
        self._writer.flush()
        self.progress.paused(time.perf_counter() - begin)

    def save(self, state: TrainState) -> None:
        """Begins to write a checkpoint, after the metrics of all steps before it were checked."""
        self.check(state)
        self._run.checkpoints.save(state)

    def check(self, state: TrainState) -> None:
        """Checks the metrics of pending steps, each once: a step that is not finite is reported."""
        for step, metrics in self._pending:
            if step >= self._checked and float(metrics["skipped"]):
                good = self._run.checkpoints.latest_step()
                kept = (
                    f"the last good checkpoint is of step {good} in {self._run.checkpoints.directory}"
                    if good is not None
                    else "no checkpoint was saved yet"
                )
                self._nonfinite.found(step, {name: float(value) for name, value in metrics.items()}, state, kept)
            self._checked = max(self._checked, step + 1)

    def _explain(self, step: int, state: TrainState) -> dict[str, Any]:
        """The images of a step's crops, and the first module whose output is not finite."""
        run = self._run
        batch = device_batch(run.recipe, next(run.batches(step)), run.seed, run.learning_rates[step])
        return {"first_not_finite": first_not_finite(run.recipe, state, batch), "samples": run.samples(step)}

    def _report(self, phase: Phase, state: TrainState) -> None:
        self.check(state)
        fetched = [{name: float(value) for name, value in metrics.items()} for _, metrics in self._pending]
        taken = [metrics for metrics in fetched if not metrics["skipped"]] or fetched  # the others are not finite
        scalars = {name: sum(m[name] for m in taken) / len(taken) for name in fetched[0]}
        scalars["skipped"] = sum(m["skipped"] for m in fetched)
        step = self._pending[-1][0]
        scalars["learning_rate"] = float(self._run.learning_rates[step])
        scalars["epoch"] = self._timetable.epoch(step)
        scalars["crop_px"] = phase.crop_px
        scalars["global_batch"] = phase.global_batch
        scalars |= self.progress.line(step + 1, phase, scalars)
        self._writer.write_scalars(step + 1, scalars)
        self._writer.flush()
        self._pending.clear()
