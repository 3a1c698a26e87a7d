"""The zoo as a table: `python -m csst_jax.models`, or `--json` for a list of objects.

Parameters are counted at 19 classes. GFLOP are the operations that evaluate one image, as XLA counts them before it
compiles the program: a multiplication and an addition count as two. Counting all networks takes minutes, so the rows
are kept in counted.jsonl beside this file. `--record` counts again, and writes that file and the table of docs/zoo.md.
A network that is not in the file is counted when you list it.
"""

from __future__ import annotations

import json
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from csst_jax.arguments import Parser, print_all
from csst_jax.models import counting, zoo
from csst_jax.runtime.storage import checkout
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD = "| network | backbone | parameters | with auxiliary heads | GFLOP | strides of features | lineages | weights |"
PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "zoo.md"


def record(rows: Sequence[dict[str, Any]]) -> None:
    """Keeps rows that were counted just now, with the others of the zoo; shows all in docs/zoo.md if that is there."""
    kept = counting.counted() | {row["name"]: row for row in rows}
    every = [kept[name] for name in zoo.NETWORKS if name in kept]
    counting.COUNTED.write_text("".join(json.dumps(row) + "\n" for row in every), encoding="utf-8")
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
        kept = {} if options.record else counting.counted()
        rows = [kept.get(name) or counting.describe(name) for name in options.names or zoo.NETWORKS]
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.record:
        record(rows)
    print_all(json.dumps(rows, indent=1) if options.json else table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
