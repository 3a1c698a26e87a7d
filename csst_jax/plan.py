"""`python -m csst_jax.plan --config=FILE --topology=v5e:4x4 [--config.KEY=VALUE …]`: a run's programs, compiled only.

No TPU is needed, but its compiler is (`pip install -r requirements-tpu.txt`). For every phase of training and for
prediction it prints memory, and the share of the chip's; operations; bytes accessed; collectives; and an estimate of
the time. The estimate is operations over the chip's published peak, or bytes over its memory's bandwidth, whichever is
more. Exits with status 1 if a program does not fit.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from absl import app, flags
from absl import logging as absl_logging

from csst_jax import command_line
from csst_jax.arguments import height_and_width
from csst_jax.runtime import storage
from csst_jax.runtime.machine import Machine, this_machine
from csst_jax.runtime.patience import told
from csst_jax.runtime.signals import tell_interruption
from csst_jax.types import IGNORE_LABEL, CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml_collections import ConfigDict

    from csst_jax.data.chosen import Data
    from csst_jax.data.selection import Selection
    from csst_jax.planning.programs import DataSize, Outcome, Work
    from csst_jax.planning.topology import Chip

_CONFIG = command_line.define_config()
_TOPOLOGY = flags.DEFINE_string("topology", "local", "v5e:4x4, v4:2x2x4, …; local = this machine's devices.")
_LARGEST = flags.DEFINE_bool("largest_batch", False, "Search the largest batch of programs that fit, too (slow).")
_JSON = flags.DEFINE_bool("json", False, "Print JSON as the last line.")
_DATA: tuple[flags.FlagHolder[Any], ...] = (
    flags.DEFINE_integer("num_labelled", None, lower_bound=1, help="Labelled training images, without data.dir."),
    flags.DEFINE_integer("num_unlabelled", None, lower_bound=0, help="Unlabelled training images, without data.dir."),
    flags.DEFINE_integer("num_validation", None, lower_bound=0, help="Validation images, without data.dir."),
    flags.DEFINE_integer(
        "num_classes", None, lower_bound=2, upper_bound=IGNORE_LABEL, help="Classes, without data.dir."
    ),
    flags.DEFINE_string("image_size", None, "HEIGHTxWIDTH of the images in pixels, without data.dir."),
)
# For a slice that is not there: no search for a real one's metadata, no lock against other users of a real one.
_COMPILE_ONLY = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def main(_: list[str]) -> int:
    """Plans and prints.

    Returns:
      The exit status: 0 when all fits (or the device does not say), 1 when something does not, 2 when there is
      something for the user to fix.
    """
    if _TOPOLOGY.value != "local":
        os.environ.update(_COMPILE_ONLY)
    absl_logging.set_verbosity(absl_logging.WARNING)  # JAX tells of every backend that it does not find
    try:
        given = {flag.name: flag.value for flag in _DATA if flag.value is not None}
        plan = make_plan(_CONFIG.value, _TOPOLOGY.value, given, search=_LARGEST.value)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from csst_jax.planning.table import report

    print("\n".join(report(plan)))
    if _JSON.value:
        print(json.dumps(plan))
    return 0 if all(row["fits"] for row in plan["programs"]) else 1


def make_plan(config: ConfigDict, topology: str, given: Mapping[str, Any], *, search: bool) -> dict[str, Any]:
    """Compiles every program of the run.

    Args:
      config: the run's.
      topology: see `csst_jax.planning.topology.devices`.
      given: see `data_size`.
      search: whether to look for the largest batch also where the configuration's fits.

    Returns:
      What `--json` prints: the chip, and for each program its figures per chip and step. Times are estimates.

    Raises:
      CsstError: something the user can fix.
    """
    from csst_jax.planning import topology as slices  # JAX takes a second to import: not before the flags are right

    devices = slices.devices(topology)
    from csst_jax.planning import programs  # TensorFlow takes seconds to import: not before the check above
    from csst_jax.runtime import startup
    from csst_jax.settings import resolve, sized

    startup.quiet_libraries()
    logging.getLogger("csst_jax").setLevel(logging.INFO)
    run = resolve.run(config)
    size = data_size(run.data, given)
    chip = slices.chip_of(devices[0])
    if search and chip is None:
        raise CsstError(
            f"--largest_batch: a {devices[0].device_kind} does not say which programs fit. Give a TPU slice, such as "
            "--topology=v5e:4x4, or leave --largest_batch out."
        )
    if sized.is_open(config):
        facts = sized.Facts(size.labelled, size.unlabelled, size.image_px) if given else sized.read_facts(run.data)
        machine = this_machine() if chip is None else Machine("tpu", len(devices), chip.hbm_bytes, cores=1)
        chosen = sized.answer(config, facts, machine)
        sized.tell(chosen)
        run = resolve.run(sized.filled(config, chosen))
    compiler = programs.Compiler()
    rows = []
    for work in programs.programs(run, size, devices):
        outcome = compiler(work, work.batch)
        row = program_row(work, outcome, chip)
        if outcome.cost is None or search:
            row["largest_batch"] = programs.largest_batch(functools.partial(compiler.fits, work), work.batch, work.unit)
        rows.append(row)
    return {
        "topology": topology,
        "devices": len(devices),
        "processes": len({device.process_index for device in devices}),
        "device_kind": devices[0].device_kind,
        "chip": None if chip is None else dataclasses.asdict(chip),
        "programs": rows,
    }


def data_size(data: Data, given: Mapping[str, Any]) -> DataSize:
    """The data set's numbers: from `data.dir` if it is there, else as given.

    Args:
      data: the run's.
      given: values by name of flag: num_labelled, num_unlabelled, num_validation, num_classes, image_size.

    Raises:
      CsstError: neither is there, or both are.
    """
    from csst_jax.planning.programs import DataSize

    if data.dir and (storage.is_remote(data.dir) or pathlib.Path(data.dir).expanduser().exists()):
        if given:
            raise CsstError(
                f"--{next(iter(given))}: data.dir={data.dir} gives this number. Leave the flag out, or set "
                "--config.data.dir= to plan without the data."
            )
        opened = data.open()
        pool, validation = data.training(opened), data.validation(opened)
        with told("reading the sizes of the images that are predicted"):
            image_px = _largest(validation, validation.labelled)
            pool_px = _largest(pool, pool.unlabelled) if pool.unlabelled else image_px
        counts = (len(pool.labelled), len(pool.unlabelled), len(validation.labelled))
        return DataSize(*counts, len(opened.description.classes), image_px, pool_px)
    missing = [f"--{flag.name}" for flag in _DATA if flag.name not in given]
    if missing:
        where = f"data.dir={data.dir} does not exist" if data.dir else "data.dir is empty"
        raise CsstError(f"{where}: set --config.data.dir to a prepared data set, or give {', '.join(missing)}.")
    image_px = height_and_width(given["image_size"], "--image_size")
    return DataSize(
        given["num_labelled"],
        given["num_unlabelled"],
        given["num_validation"],
        given["num_classes"],
        image_px,
        pool_px=image_px,
    )


def _largest(selection: Selection, records: Sequence[int]) -> tuple[int, int]:
    """Height and width of the image with the most pixels."""
    from csst_jax.data.stored import encoded

    sizes = {encoded.size(selection.reader.label_bytes(record)) for record in records}
    return max(sizes, key=lambda size: size[0] * size[1])


def program_row(work: Work, outcome: Outcome, chip: Chip | None) -> dict[str, Any]:
    """One program's figures, per chip and step."""
    row: dict[str, Any] = {
        "name": work.name,
        "size_px": list(work.size_px),
        "batch": work.batch,
        "devices": work.devices,
        "epochs": work.epochs,
        "steps": work.steps,
        "fits": outcome.cost is not None,
        "compile_s": outcome.seconds,
    }
    if outcome.cost is None:
        return row | {"memory_bytes": outcome.needed_bytes}
    cost = outcome.cost
    row |= dataclasses.asdict(cost)
    row["flops"] = None if cost.flops is None else cost.flops * work.loops
    row["bytes_accessed"] = None if cost.bytes_accessed is None else cost.bytes_accessed * work.loops
    if chip is not None and row["flops"] is not None and row["bytes_accessed"] is not None:
        row["compute_s"] = row["flops"] / chip.flops_per_s
        row["traffic_s"] = row["bytes_accessed"] / chip.hbm_bytes_per_s
        row["total_s"] = max(row["compute_s"], row["traffic_s"]) * work.steps
    return row


if __name__ == "__main__":
    tell_interruption()
    app.run(main, flags_parser=command_line.parse_flags)
