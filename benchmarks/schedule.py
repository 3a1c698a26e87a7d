"""Whole epochs of training on the generated data set: a constant crop against coarse2fine+ (paper §3.3, table 4).

python -m benchmarks.schedule --data_dir=data --json

Both sides train the same network from the same state on as many samples, from tf.data to the last update, in turn.
All programs are compiled before that. Then one run compiles while it trains, as a real one does, and tells the longest
time between two steps after the first epoch.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import jax

from configs import base
from csst_jax import build
from csst_jax.data import sampling
from csst_jax.data.batches import batches
from csst_jax.data.crop_plan import batch_specs
from csst_jax.data.kept import kept_in_memory
from csst_jax.runtime.host_memory import keep_freed_memory
from csst_jax.schedules import crops
from csst_jax.settings import resolve
from csst_jax.train.compile import StepBank, distinct_phases
from csst_jax.train.loop import device_batch
from csst_jax.train.sharding import replicated
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.settings.run import Run as RunSettings
    from csst_jax.train_state import TrainState
    from csst_jax.types import Phase

NETWORKS = ("fast_scnn", "bisenet_resnet18")
KINDS = ("constant", "coarse2fine+")
SEED = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.schedule", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", default="data", help="where data_prep.synthetic wrote the data set")
    parser.add_argument("--network", default=",".join(NETWORKS), help="names in the zoo, by commas")
    parser.add_argument("--crop_px", type=int, default=320, help="full crop; images are 480 x 360 px")
    parser.add_argument(
        "--batch", type=int, default=4, help="crops per step at the full crop; up to four times as many"
    )
    parser.add_argument("--samples", type=int, default=48, help="crops per epoch; six epochs, one a size")
    parser.add_argument("--pairs", type=int, default=5, help="timed runs of each side; 0 leaves the comparison out")
    parser.add_argument("--cold_network", default=NETWORKS[0], help="network of the run that compiles while it trains")
    parser.add_argument("--cold_samples", type=int, default=1500, help="crops per epoch of that run; 0 leaves it out")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON in the last line")
    options = parser.parse_args(arguments)
    keep_freed_memory()  # as csst_jax.main does
    jax.config.update("jax_enable_compilation_cache", False)  # a program that is loaded would not tell what it costs
    names = options.network.split(",")
    try:
        found: dict[str, Any] = {}
        if options.pairs:
            found = _table(names, options)
        if options.cold_samples:
            found |= cold(Setting(options.cold_network, options, options.cold_samples))
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(found))
    return 0


class Setting:
    """A network, its data and its initial state, for both schedules."""

    def __init__(self, network: str, options: argparse.Namespace, samples: int):
        self.run_settings = _settings(network, options, samples)
        self.training = self.run_settings.teacher
        opened = self.run_settings.data.open()
        classes = opened.description.classes
        self.mesh = build.mesh(self.run_settings.mesh)
        images = build.images(self.training, self.run_settings.data.training(opened))
        self.samplers = build.samplers(self.training, images, classes)
        self.readers = kept_in_memory(sampling.readers(images), self.run_settings.input.cache_mb * 2**20)
        self.recipe = build.recipe(self.training, len(classes), SEED, self.run_settings.mesh, self.mesh)
        initial = self.recipe.initial_state(*self.recipe.method.trained())
        self.state = jax.device_put(initial, replicated(self.mesh))

    def phases(self, kind: str) -> list[Phase]:
        """Six epochs."""
        changed = dataclasses.replace(self.training.crops, kind=kind)
        return build.phases(dataclasses.replace(self.training, crops=changed), 0, self.mesh)

    def run(self, phases: Sequence[Phase], bank: StepBank) -> Run:
        """Trains all epochs from the initial state. Nothing but batches reaches the device meanwhile."""
        streams, given = self.training.streams, self.run_settings.input
        specs = batch_specs(streams, self.samplers, phases, SEED, self.training.sampling.scale_range, 0)
        stream = batches(specs, streams, self.readers, parallel_batches=given.parallel_batches, prefetch=given.prefetch)
        rates = build.learning_rates(self.training, phases)
        state: TrainState = jax.tree.map(lambda x: x.copy(), self.state)
        first, run, step = next(stream), Run(), 0
        keep_freed_memory()  # as training does after its first batch
        run.ended.append(time.perf_counter())
        with jax.transfer_guard_host_to_device("disallow_explicit"):
            for epoch, phase in enumerate(phases):
                for _ in range(phase.steps):
                    began = time.perf_counter()
                    host = next(stream) if step else first
                    run.waited += time.perf_counter() - began
                    with jax.transfer_guard_host_to_device("allow"):
                        batch = device_batch(self.recipe, host, SEED, rates[step])
                    began = time.perf_counter()
                    program = bank[phase]
                    run.compiling = max(run.compiling, time.perf_counter() - began if epoch else 0.0)
                    state, metrics = program(state, batch)
                    jax.block_until_ready(metrics["loss"])
                    run.ended.append(time.perf_counter())
                    if step == 0:
                        bank.compile_rest()
                    step += 1
            jax.block_until_ready(state)
        return run


class Run:
    """What was timed: when each step ended, seconds that steps waited for input, and the longest for a program."""

    def __init__(self) -> None:
        self.ended: list[float] = []
        self.waited = 0.0
        self.compiling = 0.0

    @property
    def seconds(self) -> float:
        """From the first batch to the end of the last step."""
        return self.ended[-1] - self.ended[0]


def _table(names: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Prints both schedules side by side, by network; returns what the JSON tells of it."""
    found: dict[str, Any] = {"speedup": {}, "pixels": {}, "compile_s": {}}
    print(
        f"| network | samples | {KINDS[0]} s | {KINDS[1]} s | speed-up | range | by pixels "
        f"| waits for input | compilation s, {KINDS[0]} | {KINDS[1]} |"
    )
    print("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |")
    for name in names:
        row = compare(Setting(name, options, options.samples), options.pairs)
        found["speedup"][name] = round(statistics.median(row["speedups"]), 3)
        found["pixels"][name] = round(row["pixels"], 3)
        found["compile_s"][name] = [round(seconds, 1) for seconds in row["compile_s"]]
        print(
            f"| {name} | {row['samples'][0]}, {row['samples'][1]} | {statistics.median(row['seconds'][0]):.1f} "
            f"| {statistics.median(row['seconds'][1]):.1f} | {found['speedup'][name]:.2f} "
            f"| {min(row['speedups']):.2f} to {max(row['speedups']):.2f} | {row['pixels']:.2f} "
            f"| {row['waited'][0]:.0%}, {row['waited'][1]:.0%} "
            f"| {row['compile_s'][0]:.0f} | {row['compile_s'][1]:.0f} |",
            flush=True,
        )
    return found


def compare(setting: Setting, pairs: int) -> dict[str, Any]:
    """Both schedules in turn; a speed-up is that of one sample, for whole batches make a few samples' difference."""
    phases = [setting.phases(kind) for kind in KINDS]
    bank = StepBank(setting.recipe, phases[0] + phases[1])
    for phase in phases[0] + phases[1]:
        bank[phase]
    took = {(made.crop_px, made.global_batch): made.seconds for made in bank.compilations}
    compile_s = [sum(took[phase.compile_key] for phase in distinct_phases(planned)) for planned in phases]
    samples = [sum(phase.steps * phase.global_batch for phase in planned) for planned in phases]
    runs: list[list[Run]] = [[], []]
    for _ in range(pairs):
        for side in (0, 1):
            runs[side].append(setting.run(phases[side], bank))
    each = [[run.seconds / samples[side] for run in runs[side]] for side in (0, 1)]
    return {
        "samples": samples,
        "pixels": crops.speedup(phases[1]),
        "compile_s": compile_s,
        "seconds": [[run.seconds for run in side] for side in runs],
        "waited": [sum(run.waited for run in side) / sum(run.seconds for run in side) for side in runs],
        "speedups": [constant / growing for constant, growing in zip(*each, strict=True)],
    }


def cold(setting: Setting) -> dict[str, Any]:
    """One run of coarse2fine+ that compiles in the background; prints and returns its longest gaps."""
    phases = setting.phases(KINDS[1])
    bank = StepBank(setting.recipe, phases)
    run = setting.run(phases, bank)
    gaps = [after - before for before, after in zip(run.ended, run.ended[1:], strict=False)]
    later = gaps[phases[0].steps :]
    compile_s = [round(made.seconds, 1) for made in bank.compilations]
    found: dict[str, Any] = {
        "stall_s": round(run.compiling, 2),
        "longest_gap_s": round(max(later), 2),
        "median_gap_s": round(statistics.median(later), 2),
        "cold_compile_s": compile_s,
    }
    print(
        f"\nCompiled while it trains: {setting.training.network.name}, {KINDS[1]}, "
        f"{setting.training.crops.samples_per_epoch} samples an epoch. Seconds a size: "
        f"{', '.join(map(str, compile_s))}. After the first epoch a step waits at most {found['stall_s']} s for its "
        f"program. The longest time between the ends of two steps is {found['longest_gap_s']} s, the median "
        f"{found['median_gap_s']} s."
    )
    return found


def _settings(network: str, options: argparse.Namespace, samples: int) -> RunSettings:
    config = base.get_config()
    config.data.dir = options.data_dir
    stage = config.teacher
    stage.network, stage.crop_px, stage.batch_size = network, options.crop_px, options.batch
    stage.epochs, stage.samples_per_epoch = stage.schedule.num_sizes, samples
    return resolve.run(config)


if __name__ == "__main__":
    sys.exit(main())
