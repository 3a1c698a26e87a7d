"""A network as StableHLO, serialised by `jax.export`: for JAX on another machine, without csst_jax."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import jax
import jax.export

from csst_jax.models.exporting.function import BATCH, Exported
from csst_jax.runtime.storage import as_path, replacing

if TYPE_CHECKING:
    import os

PLATFORMS = ("cpu", "cuda", "tpu")
"""That the file holds the network for, each in the forms which are fast there."""


def write(path: str | os.PathLike[str], exported: Exported) -> list[str]:
    """Writes what `jax.export.deserialize` reads, and beside it PATH.json, which says what the network is; atomically.

    Returns:
      What there is to say about it, a sentence an entry.
    """
    program = jax.export.export(jax.jit(exported.closed()), platforms=PLATFORMS)(exported.images())
    content = bytes(program.serialize())
    beside = f"{as_path(path)}.json"
    height, width = exported.size
    shapes = {
        "input": {"shape": [BATCH, height, width, 3], "dtype": exported.input_dtype.name},
        "output": {"name": exported.output, "dtype": exported.output_dtype.name},
    }
    with replacing(path) as temporary, replacing(beside) as temporary_beside:
        temporary.write_bytes(content)
        temporary_beside.write_text(json.dumps({**exported.metadata(), **shapes}, indent=1) + "\n", encoding="utf-8")
    return [
        f"StableHLO for {', '.join(PLATFORMS)}, {len(content) / 1e6:.1f} MB, {beside} says what it is",
        f"it runs with JAX of version {jax.__version__} and later ones, for half a year at least",
    ]
