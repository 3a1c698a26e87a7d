"""Compares every network's training step on eight devices with that on one.

python -m tests.sharding --log=docs/results/logs/sharding.jsonl --table=docs/results/sharding.md

At a small fraction of their size, in float32, with the forms of convolutions that accelerators use, on CPU devices. A
network takes a minute or two. Each is compared in a process of its own: one that XLA stops ends no other's.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests import quick_compilation

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEVICES = 8
SPATIAL = (1, 2, 8)  # with 8, 4 and 1 devices over the batch
SEEDS = (0, 1)


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit status is 1 if a network's comparison did not end."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.sharding", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default="", help="names with commas between; by default all that differ")
    parser.add_argument("--here", action="store_true", help="in this process: lines of JSON only")
    parser.add_argument("--log", help="file for the lines of JSON, one a comparison; those of other networks are kept")
    parser.add_argument("--table", help="Markdown file to write from the log")
    options = parser.parse_args(arguments)
    if options.table and not options.log:
        parser.error("--table names the log that it was made from: give --log, too")
    names = [name for name in options.networks.split(",") if name] or every_network()
    if options.here:
        with_forms_of_accelerators()
        for name in names:
            for found in differences(name):
                print(json.dumps(found), flush=True)
        return 0
    log = pathlib.Path(options.log) if options.log else None
    lines = log.read_text(encoding="utf-8").splitlines() if log and log.exists() else []
    events = [event for event in map(json.loads, lines) if event["network"] not in names]
    for name in names:
        for event in compared(name):
            print(json.dumps(event), flush=True)
            events.append(event)
    position = {name: number for number, name in enumerate(every_network())}
    events.sort(key=lambda event: position.get(event["network"], len(position)))  # a network's own keep their order
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(f"{json.dumps(event)}\n" for event in events), encoding="utf-8")
    if options.table:
        pathlib.Path(options.table).write_text(page(events, options), encoding="utf-8")
    return int(any("stopped" in event for event in events))


def every_network() -> list[str]:
    """Names of the zoo, without what is the same network at this size."""
    from csst_jax.models import zoo
    from tests.models import small_networks

    return [name for name in zoo.NETWORKS if name not in small_networks.REPEATED]


def with_forms_of_accelerators() -> None:
    """For the rest of this process."""
    from csst_jax.models.ops import convolution
    from tests.models import small_networks

    convolution._cpu_form = small_networks.accelerators_form


def compared(name: str) -> Iterator[dict[str, Any]]:
    """The differences of one network, found in another process; at the end of one that failed, how it ended."""
    # XLA on CPU runs one device's share on each of its threads, and waits for ever if those of an exchange are not
    # all running: more threads than the machine has cores.
    environment = os.environ | {
        "NPROC": "32",
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(DEVICES),
        "XLA_FLAGS": quick_compilation.XLA_FLAGS,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.sharding", "--here", f"--networks={name}"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode != 0:
        yield {"network": name, "stopped": process.returncode}


def differences(name: str) -> Iterator[dict[str, Any]]:
    """Of a network's first step on eight devices and that on one, for each way of sharing and each seed.

    Returns:
      `metrics`: the largest relative difference of the losses and counts. `statistics`: the largest of the running
      statistics, relative above 1 and absolute below. `gradient`: the norm of the difference of all gradients over
      their norm, as one vector: before a batch normalisation many are zero but for rounding.
    """
    import numpy as np

    from tests.models import small_networks
    from tests.models.small_networks import norm

    one = small_networks.first_step(name, 1, 1)
    expected = {seed: one(seed) for seed in SEEDS}
    for spatial in SPATIAL:
        step = small_networks.first_step(name, DEVICES, spatial)
        for seed in SEEDS:
            (state, metrics), (one_state, one_metrics) = step(seed), expected[seed]
            gradient, whole = (s.opt_state[1].trace for s in (state, one_state))  # the first momentum
            yield {
                "network": name,
                "spatial": spatial,
                "seed": seed,
                "metrics": max(
                    float(abs(metrics[key] - value) / max(abs(value), 1e-12))
                    for key, value in one_metrics.items()
                    if key != "gradient_norm"
                ),
                "statistics": max(
                    float(np.max(abs(state.batch_stats[key] - value) / np.maximum(1, abs(value))))
                    for key, value in one_state.batch_stats.items()
                ),
                "gradient": norm({key: gradient[key] - whole[key] for key in whole}) / norm(whole),
            }


def page(events: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """The table."""
    log = os.path.relpath(options.log, pathlib.Path(options.table).parent)
    rows = []
    for name in dict.fromkeys(event["network"] for event in events):
        own = [event for event in events if event["network"] == name and "stopped" not in event]
        cells = []
        for spatial in SPATIAL:
            here = [event for event in own if event["spatial"] == spatial]
            if here:
                others = max(max(event["metrics"], event["statistics"]) for event in here)
                gradients = ", ".join(f"{event['gradient']:.0e}" for event in here)
                cells.append(f"{others:.0e}; {gradients}")
            else:
                cells.append("did not end")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    shares = " | ".join(f"{DEVICES // spatial} x {spatial}" for spatial in SPATIAL)
    return (
        "\n".join(
            [
                "# A step on eight devices compared with one device",
                "",
                f"`python -m tests.sharding` writes this page ([log]({log})). Columns are `mesh.data` x "
                "`mesh.spatial`. The first number is the largest relative difference of losses and running statistics. "
                "The others are the relative difference of the gradient as one vector, for each of "
                f"{len(SEEDS)} seeds of the weights.",
                "",
                "Differences of 1e-5 and less come from the order in which numbers are added. Larger ones come from a "
                "ReLU whose input is zero except for rounding. It lets a gradient through on one side only, with one "
                "seed and not with another. A wrong program would be wrong with every seed.",
                "",
                f"| network | {shares} |",
                "| --- | --- | --- | --- |",
                *rows,
            ]
        )
        + "\n"
    )


if __name__ == "__main__":
    sys.exit(main())
