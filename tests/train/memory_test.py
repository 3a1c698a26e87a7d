"""Host memory does not grow with the length of a run."""

import ctypes
import gc
import os

import jax
import numpy as np
import pytest

from csst_jax.data.batches import batches
from csst_jax.data.crop_plan import batch_specs
from csst_jax.data.store import DataSet
from csst_jax.samplers.uniform import UniformImageSampler
from csst_jax.schedules import crops
from csst_jax.streams import LABELLED
from csst_jax.train import loop

WARM = 500  # steps
ALLOWED_MIB = 4.0
SCHEDULE = {"num_sizes": 2, "smallest_share": 0.5, "stride": 16, "max_batch_factor": 4, "batch_unit": 1}


def resident_mib():
    """What this process holds in memory now, without what is free already but not given back."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def growth(make_run, data, directory, steps=2000, keep=lambda batch: None, **changes):
    """Trains on stored images; returns what the steps after the first 500 add: (MiB, live arrays of JAX)."""
    phases = crops.phases("coarse2fine+", 32, 4, steps // 100, 640, **SCHEDULE)
    assert sum(phase.steps for phase in phases) == steps and len({phase.compile_key for phase in phases}) == 2
    source = DataSet.open(data).reader("train")
    sampler = UniformImageSampler([(0, record, 96, 128) for record in range(4)], real_share=None)
    seen = {}

    def input_from(start):
        specs = batch_specs([LABELLED], {"labelled": sampler}, phases, 0, (0.5, 2.0), start)
        for step, batch in enumerate(batches(specs, [LABELLED], [source], parallel_batches=2, prefetch=4), start):
            if step in (WARM, steps - 1):
                seen[step] = np.array([resident_mib(), len(jax.live_arrays())])
            keep(batch)
            yield batch

    rates = np.full(steps, 1e-3, np.float32)
    run = make_run(directory=directory, phases=phases, learning_rates=rates, batches=input_from, **changes)
    state, _ = loop.train(run)
    assert int(state.step) == steps
    return seen[steps - 1] - seen[WARM]


@pytest.mark.slow
def test_a_run_of_2000_steps_holds_no_more_than_one_of_500(make_run, tiny_data, tmp_path):
    mib, arrays = growth(make_run, tiny_data, tmp_path / "run", log_every_steps=20)
    # Two leaks, to see that the measures find them: 64 KiB a step, and metrics that are never reported.
    kept = []
    leak_mib, leak_arrays = growth(
        make_run,
        tiny_data,
        tmp_path / "leaks",
        1000,
        lambda _: kept.append(np.ones(2**16, np.uint8)),
        log_every_steps=10_000,
    )
    print(f"steps {WARM} to 2000: {mib:+.1f} MiB, {arrays:+.0f} arrays; leaks {leak_mib:+.1f}, {leak_arrays:+.0f}")
    assert mib < ALLOWED_MIB
    assert abs(arrays) < 200  # the metrics of a report's 20 steps, more or less
    assert leak_mib > 2 * ALLOWED_MIB and leak_arrays > 1000, "this test cannot fail"
