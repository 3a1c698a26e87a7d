"""What networks of the zoo are made of and cost; counted once, and kept in counted.jsonl beside this file.

Parameters are counted at 19 classes. GFLOP are of the whole evaluation of one image, a multiplication and an addition
counted as two, as XLA counts them in the program before it is compiled. A network that is not in the file is counted
when it is asked for; `python -m csst_jax.models --record` counts again.
"""

from __future__ import annotations

import json
import math
import pathlib
from typing import TYPE_CHECKING, Any

from csst_jax.models import zoo
from csst_jax.models.weights import catalogue

if TYPE_CHECKING:
    from csst_jax.models.nnx_io import Arrays

COUNTED = pathlib.Path(__file__).with_name("counted.jsonl")
_NUM_CLASSES = 19
_SIZE = (1024, 2048)


def describe(name: str) -> dict[str, Any]:
    """One row: what the named network is made of and what it costs; nothing is computed.

    Returns:
      `name`, `network`, `backbone` (or None), `parameters` and `parameters_with_aux` at 19 classes, `gflop` at
      1024x2048, `strides` of its features by name (None for what is no map), `lineages` (the default first),
      `weights` (whose checkpoints can be imported).
    """
    import jax  # JAX takes a second to import, which --help need not wait for
    import jax.numpy as jnp

    from csst_jax.models import nnx_io

    entry = zoo.entry(name)
    with_aux = nnx_io.abstract(zoo.builder(name, _NUM_CLASSES))
    heads = zoo.has_option(name, "aux")
    network = nnx_io.abstract(zoo.builder(name, _NUM_CLASSES, aux=False)) if heads else with_aux
    image = jax.ShapeDtypeStruct((1, *_SIZE, 3), jnp.float32)
    traced = jax.jit(network.apply_eval).trace(network.params, network.batch_stats, image)
    # A GPU's program has the operations of the definition, with zeros in grouped convolutions (models/convolution.py);
    # a CPU's has Winograd's, which are fewer, and a TPU's those of blocks with more zeros.
    lowered = traced.lower(lowering_platforms=("cuda",))
    features, cost = lowered.out_info["features"], lowered.cost_analysis()
    assert cost is not None  # a lowered program always has one
    backbone = entry.options.get("backbone")
    return {
        "name": name,
        "network": name.removesuffix(f"_{backbone}") if backbone else name,
        "backbone": backbone,
        "parameters": _count(network.params),
        "parameters_with_aux": _count(with_aux.params),
        "gflop": cost["flops"] / 1e9,
        "strides": {key: round(_SIZE[0] / f.shape[1]) if len(f.shape) == 4 else None for key, f in features.items()},
        "lineages": zoo.lineages(name),
        "weights": catalogue.sources_of(name),
    }


def _count(arrays: Arrays) -> int:
    return sum(math.prod(leaf.shape) for leaf in arrays.values())


def counted() -> dict[str, dict[str, Any]]:
    """The rows that were counted before, by name."""
    rows = [json.loads(line) for line in COUNTED.read_text(encoding="utf-8").splitlines()]
    return {row["name"]: row for row in rows}


def gflop(name: str) -> float:
    """What one image of 1024x2048 takes, of a network of the zoo or of one that is not counted yet.

    Raises:
      CsstError: unknown name.
    """
    return (counted().get(name) or describe(name))["gflop"]
