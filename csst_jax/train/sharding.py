"""The device mesh and what is laid out over it.

Axes: `data` splits the batch, `spatial` splits image rows (XLA exchanges the halos of convolutions). Parameters and
optimizer state are on every device, or split over `data`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from csst_jax.models.ops.rows import SPATIAL
from csst_jax.streams import BATCH, MAPS, ROWS, step_entries, total_parts
from csst_jax.types import CsstError, Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.streams import Entry, Stream
    from csst_jax.train_state import TrainState

DATA = "data"
ALL = -1


def make_mesh(devices: Sequence[jax.Device], spatial: int, data: int = ALL) -> Mesh:
    """A (`data`, `spatial`) mesh over all given devices.

    Args:
      devices: those of each process beside each other.
      spatial: devices that share an image's rows; -1 for all that `data` leaves.
      data: devices that share the batch; -1 for all that `spatial` leaves.

    Raises:
      CsstError: both are -1; their product is not the number of devices; or `spatial` does not divide the number of
        devices of each process (which reads whole crops: an image's rows stay in one process).
    """
    given, count = f"mesh.data={data} and mesh.spatial={spatial}", len(devices)
    if data == spatial == ALL:
        raise CsstError(f"{given}: -1 stands for all devices that the other leaves; give a number for one of them.")
    left = count // max(1, -data * spatial)  # where one of them is -1, the product is the other's negative
    data, spatial = (left if size == ALL else size for size in (data, spatial))
    own = count // len({device.process_index for device in devices})
    if spatial < 1 or own % spatial:
        raise CsstError(f"mesh.spatial={spatial} does not divide the {own} devices of a process; give a divisor of it.")
    if data * spatial != count:
        raise CsstError(
            f"{given} do not make {count} devices; set one of them to -1, or choose two numbers whose product is "
            f"{count}."
        )
    return Mesh(np.asarray(devices).reshape(data, spatial), (DATA, SPATIAL))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def state_shardings(state: TrainState, mesh: Mesh, split: bool) -> TrainState:
    """Layout of a training state, array by array.

    Args:
      state: the state, or its shapes.
      mesh: the devices.
      split: whether parameters, optimizer state and the method's state are split over `data`, each array along the
        longest axis that the devices divide. An array without such an axis, and the running statistics, are on every
        device in any case.
    """

    def layout(x: Any) -> NamedSharding:
        divisible = [axis for axis, size in enumerate(x.shape) if size % mesh.shape[DATA] == 0]
        if not divisible:
            return replicated(mesh)
        longest = max(divisible, key=lambda axis: x.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * longest, DATA))

    everywhere = jax.tree.map(lambda _: replicated(mesh), state)
    if not split:
        return everywhere
    params, opt_state, method = jax.tree.map(layout, (state.params, state.opt_state, state.method))
    return dataclasses.replace(everywhere, params=params, opt_state=opt_state, method=method)


_AXES = {BATCH: DATA, MAPS: None, ROWS: SPATIAL}


def entry_sharding(entry: Entry, mesh: Mesh) -> NamedSharding:
    """Layout of one array of a step's input: crops over `data`, their rows over `spatial`."""
    return NamedSharding(mesh, PartitionSpec(*(_AXES[axis] for axis in entry.axes)))


def input_shardings(streams: Sequence[Stream], mesh: Mesh) -> dict[str, dict[str, NamedSharding]]:
    """Layout of a step's input, by stream and array; it depends on no size."""
    entries = step_entries(streams, Phase(crop_px=1, global_batch=total_parts(streams), steps=1))
    return {key: {name: entry_sharding(e, mesh) for name, e in arrays.items()} for key, arrays in entries.items()}


def batch_unit(streams: Sequence[Stream], mesh: Mesh, accumulate: int) -> int:
    """What every batch is a multiple of, so that each device has as many crops of each stream and micro-batch."""
    return mesh.shape[DATA] * max(1, accumulate) * total_parts(streams)


def require_whole_units(global_batch: int, streams: Sequence[Stream], mesh: Mesh, accumulate: int) -> None:
    """Refuses a batch that is no multiple of `batch_unit`.

    Raises:
      CsstError: names the numbers whose product that is.
    """
    unit = batch_unit(streams, mesh, accumulate)
    if global_batch % unit:
        kinds = ", ".join(f"{stream.parts} {stream.name}" for stream in streams)
        raise CsstError(
            f"a global batch of {global_batch} is not divisible by {unit} = {mesh.shape[DATA]} (devices that share it) "
            f"x {max(1, accumulate)} (micro-batches) x {total_parts(streams)} (crops: {kinds}); make it a multiple of "
            f"{unit}."
        )


def require_whole_rows(phases: Sequence[Phase], mesh: Mesh) -> None:
    """Refuses crops whose rows the mesh cannot split evenly.

    Raises:
      CsstError: names the value, the devices, and the nearest values that fit.
    """
    spatial = mesh.shape[SPATIAL]
    for phase in phases:
        if phase.crop_px % spatial:
            raise CsstError(
                f"crop of {phase.crop_px} px is not divisible by mesh.spatial={spatial}; "
                f"set crop_px to a multiple, {_nearest(phase.crop_px, spatial)}."
            )


def _nearest(value: int, of: int) -> str:
    below = value // of * of
    return f"for example {below} or {below + of}" if below else f"at least {of}"
