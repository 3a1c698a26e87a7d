"""The device mesh and what is laid out over it.

Axes: `data` splits the batch, `spatial` splits image rows (XLA exchanges the halos of convolutions). Parameters and
optimizer state are replicated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

DATA, SPATIAL = "data", "spatial"


def make_mesh(devices: Sequence[jax.Device], spatial: int) -> Mesh:
    """A (`data`, `spatial`) mesh over all given devices.

    Raises:
      CsstError: `spatial` does not divide the number of devices of each process (an image's rows stay in one process).
    """
    own = len(devices) // len({device.process_index for device in devices})
    if spatial < 1 or own % spatial:
        raise CsstError(f"mesh.spatial={spatial} does not divide the {own} devices of a process; give a divisor of it.")
    return Mesh(np.asarray(devices).reshape(-1, spatial), (DATA, SPATIAL))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_shardings(mesh: Mesh) -> dict[str, NamedSharding]:
    """Layout of a training batch by entry name: batch over `data`, rows over `spatial`."""
    pixels = NamedSharding(mesh, PartitionSpec(DATA, SPATIAL))
    samples = NamedSharding(mesh, PartitionSpec(DATA))
    return {
        "image": pixels,
        "label": pixels,
        "sample": samples,
        "seed": replicated(mesh),
        "learning_rate": replicated(mesh),
    }


def check_divisible(global_batch: int, crop_px: int, mesh: Mesh) -> None:
    """Refuses a batch or crop that the mesh cannot split evenly.

    Raises:
      CsstError: names the value, the devices, and the next value that fits.
    """
    data, spatial = mesh.shape[DATA], mesh.shape[SPATIAL]
    if global_batch % data:
        fits = -(-global_batch // data) * data
        raise CsstError(
            f"batch size {global_batch} is not divisible by the {data} devices of the data axis; "
            f"set train.batch_size to a multiple of {data}, for example {fits}."
        )
    if crop_px % spatial:
        fits = -(-crop_px // spatial) * spatial
        raise CsstError(
            f"crop of {crop_px} px is not divisible by mesh.spatial={spatial}; use a multiple, for example {fits}."
        )
