"""Where the time of benchmarks.train_step's steps goes, by operation, as JAX's profiler sees it.

python -m benchmarks.step_profile --network=deeplab_v3_plus_resnet50 --json

An operation's time is that from its start to its end on whichever threads run it; operations that run beside each other
count in full. Forward and backward pass are told apart by JAX's names of operations.
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib
import re
import sys
import tempfile
from typing import TYPE_CHECKING

import jax
import numpy as np

from benchmarks import train_step
from csst_jax.runtime.host_memory import keep_freed_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STEPS = 3
_NAMED = re.compile(r'^\s*(?:ROOT )?%?([\w.-]+) = .*?op_name="([^"]*)"', re.M)
_PRODUCTS = {"dot_general", "conv_general_dilated"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.step_profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--network", default=",".join(train_step.NETWORKS), help="names, by commas")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop_px", type=int, default=320)
    parser.add_argument("--rows", type=int, default=12, help="operations to list")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON in the last line")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    shares = {}
    for name in options.network.split(","):
        milliseconds = profile(name, options.batch, options.crop_px)
        total = sum(milliseconds.values())
        print(f"{name}: {total:.0f} ms a step\n\n| pass | operation | ms | share |\n| --- | --- | --: | --: |")
        for (way, operation), ms in milliseconds.most_common(options.rows):
            print(f"| {way} | {operation} | {ms:.0f} | {100 * ms / total:.0f} % |")
        rest = total - sum(ms for _, ms in milliseconds.most_common(options.rows))
        print(f"| both | all others | {rest:.0f} | {100 * rest / total:.0f} % |\n", flush=True)
        products = sum(ms for (_, operation), ms in milliseconds.items() if operation in _PRODUCTS)
        shares[name] = round(products / total, 3)
    if options.json:
        print(json.dumps({"share_of_products_and_convolutions": shares}))
    return 0


def profile(name: str, batch: int, crop_px: int) -> collections.Counter[tuple[str, str]]:
    """Milliseconds a step by (pass, operation)."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, crop_px, crop_px, 3), np.float32)
    labels = rng.integers(0, train_step.NUM_CLASSES, (batch, crop_px, crop_px)).astype(np.uint8)
    step, hlo = train_step.our_program(name, images, labels)
    for _ in range(2):
        step()
    names = dict(_NAMED.findall(hlo))
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    for operation, ms in _times(step).items():
        path = names.get(operation, "")
        way = "backward" if "transpose(jvp" in path else "forward" if "jvp(" in path else "update"
        found[way, path.rsplit("/", 1)[-1] or re.sub(r"[.\d]+$", "", operation)] += ms / STEPS
    return found


def _times(step: Callable[[], None]) -> dict[str, float]:
    """Milliseconds of each HLO operation over `STEPS` steps; loops are what is in them."""
    options = jax.profiler.ProfileOptions()
    options.host_tracer_level, options.python_tracer_level = 3, 0
    with tempfile.TemporaryDirectory() as directory:
        with jax.profiler.trace(directory, profiler_options=options):
            for _ in range(STEPS):
                step()
        (file,) = pathlib.Path(directory).rglob("*.xplane.pb")
        planes = jax.profiler.ProfileData.from_file(str(file)).planes
        found: collections.Counter[str] = collections.Counter()
        for event in (event for plane in planes for line in plane.lines for event in line.events):
            operation = dict(event.stats).get("hlo_op")
            if isinstance(operation, str) and not operation.startswith(("while", "call", "conditional")):
                found[operation] += event.duration_ns / 1e6
    return found


if __name__ == "__main__":
    sys.exit(main())
