"""The zoo as a table: `python -m csst_jax.models`, or `--json` for a list of objects.

Parameters are counted at 19 classes. GFLOP are the operations that evaluate one image, as XLA counts them before it
compiles the program: a multiplication and an addition count as two. Counting all networks takes minutes, so the rows
are kept in counted.jsonl beside this file. `--record` counts again, and writes that file and the table of docs/zoo.md.
A network that is not in the file is counted when you list it.
"""

from __future__ import annotations

import json
import math
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from csst_jax.arguments import Parser, print_all
from csst_jax.models import zoo
from csst_jax.models.weights import catalogue
from csst_jax.runtime.storage import checkout
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.models.nnx_io import Arrays

_NUM_CLASSES = 19
_SIZE = (1024, 2048)
_HERE = pathlib.Path(__file__).parent
COUNTED = _HERE / "counted.jsonl"
_HEAD = "| network | backbone | parameters | with auxiliary heads | GFLOP | strides of features | lineages | weights |"
PAGE = _HERE.parent.parent / "docs" / "zoo.md"


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


def record(rows: Sequence[dict[str, Any]]) -> None:
    """Keeps rows that were counted just now, with the others of the zoo; shows all in docs/zoo.md if that is there."""
    kept = counted() | {row["name"]: row for row in rows}
    every = [kept[name] for name in zoo.NETWORKS if name in kept]
    COUNTED.write_text("".join(json.dumps(row) + "\n" for row in every), encoding="utf-8")
    if PAGE.exists():
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), every), encoding="utf-8")


def with_table(text: str, rows: Sequence[dict[str, Any]]) -> str:
    """A page with the rows in place of those that its table of networks has."""
    begin = text.index(_HEAD)
    end = text.index("\n\n", begin)
    return text[:begin] + table(rows) + text[end:]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [_HEAD, "| --- | --- | --: | --: | --: | --- | --- | --- |"]
    for row in rows:
        strides = ", ".join(f"{name} {stride}" for name, stride in row["strides"].items() if stride)
        cells = [
            row["network"],
            row["backbone"] or "–",
            f"{row['parameters']:,}",
            f"{row['parameters_with_aux']:,}",
            f"{row['gflop']:,.0f}",
            strides,
            ", ".join(row["lineages"]) or "–",
            ", ".join(row["weights"]) or "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser("csst_jax.models", __doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks to show; all of them by default")
    parser.add_argument("--record", action="store_true", help="count again, and keep the rows for the next time")
    parser.add_argument("--json", action="store_true", help="a JSON list instead of the table")
    options = parser.parse_args(arguments)
    try:
        if options.record and checkout() is None:
            raise CsstError("--record writes into a checkout of csst_jax, and this is an installed package.")
        kept = {} if options.record else counted()
        rows = [kept.get(name) or describe(name) for name in options.names or zoo.NETWORKS]
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.record:
        record(rows)
    print_all(json.dumps(rows, indent=1) if options.json else table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
