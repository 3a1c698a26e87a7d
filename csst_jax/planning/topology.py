"""TPU slices that are not there, for compiling ahead of time, and the published rates of their chips."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import re
from typing import TYPE_CHECKING, Any

import jax
from jax.experimental import topologies

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCAL = "local"


@dataclasses.dataclass(frozen=True)
class Chip:
    """One kind of chip, with its maker's figures.

    Attributes:
      kind: what JAX calls such a device.
      dimensions: of the torus or mesh that its slices are cut from.
      hbm_bytes: memory.
      hbm_bytes_per_s: the memory's bandwidth.
      flops_per_s: bfloat16 peak; float32 products run on the same units, no faster.
      options: what the compiler must be told besides the slice's shape.
    """

    kind: str
    dimensions: int
    hbm_bytes: int
    hbm_bytes_per_s: float
    flops_per_s: float
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


# https://cloud.google.com/tpu/docs/v4, …/v5e, …/v5p, …/v6e: peak compute per chip (bf16), HBM capacity and bandwidth.
# Two cores of a v4 chip are one device ("megacore"), as JAX has them on a v4 host.
CHIPS = {
    "v4": Chip("TPU v4", 3, 32 * 2**30, 1200e9, 275e12, {"chip_config_name": "megacore"}),
    "v5e": Chip("TPU v5 lite", 2, 16 * 2**30, 819e9, 197e12),
    "v5p": Chip("TPU v5", 3, 95 * 2**30, 2765e9, 459e12),
    "v6e": Chip("TPU v6 lite", 2, 32 * 2**30, 1640e9, 918e12),
}
_HOST_BOUNDS = (2, 2, 1)  # chips of one host in a slice of several hosts
_WHOLE_HOST = [2, 4]  # a slice of one host with 8 chips, in the families of two dimensions


def devices(topology: str) -> Sequence[jax.Device]:
    """The devices of a slice, described and not there, or this process's real ones for "local".

    v5e:2x4 and v6e:2x4 are one host of 8 chips, as Compute Engine has them. A node pool of GKE with machines of 4 chips
    makes two hosts of it, each of which would predict half of the images.

    Args:
      topology: "local", or a family and a shape such as "v5e:4x4" or "v4:2x2x4".

    Raises:
      CsstError: not a slice's name, a shape that the compiler refuses, or no TPU compiler.
    """
    if topology == LOCAL:
        return jax.devices()
    family, _, shape = topology.partition(":")
    if family not in CHIPS or not re.fullmatch(r"\d+(x\d+)+", shape):
        raise CsstError(f"--topology={topology}: {_known()}")
    chip = CHIPS[family]
    sides = [int(side) for side in shape.split("x")]
    if len(sides) != chip.dimensions or 0 in sides:
        raise CsstError(f"--topology={topology}: a {family} slice has {chip.dimensions} sides; {_known()}")
    if importlib.util.find_spec("libtpu") is None:
        raise CsstError(
            f"--topology={topology} needs the TPU compiler, though no TPU: pip install -r requirements-tpu.txt."
        )
    # A slice smaller than a host is a part of one.
    bounds = tuple(min(side, most) for side, most in zip([*sides, 1], _HOST_BOUNDS, strict=False))
    if sides == _WHOLE_HOST:
        bounds = (2, 4, 1)
    try:
        described = topologies.get_topology_desc(
            platform="tpu", topology_name=topology, chips_per_host_bounds=bounds, **chip.options
        )
    except jax.errors.JaxRuntimeError as error:
        if "INVALID_ARGUMENT" not in str(error):
            raise
        raise CsstError(f"--topology={topology}: {_known()} The compiler says: {str(error).splitlines()[0]}") from error
    if len(described.devices) != math.prod(sides):
        raise CsstError(f"--topology={topology} gave {len(described.devices)} devices, not one a chip.")
    return described.devices


def chip_of(device: jax.Device) -> Chip | None:
    """The device's published figures; None for a device that is no TPU of these families."""
    return next((chip for chip in CHIPS.values() if chip.kind == device.device_kind), None)


def _known() -> str:
    shapes = {2: "2x2, 2x4, 4x4, 4x8, 8x8, 8x16, 16x16", 3: "2x2x1, 2x2x2, 2x2x4, 2x4x4, 4x4x4, 4x4x8"}
    listed = (
        f"{' and '.join(f for f, chip in CHIPS.items() if chip.dimensions == n)} with {shapes[n]}, …" for n in shapes
    )
    return f"give local, or FAMILY:SHAPE of {'; or '.join(listed)}"
