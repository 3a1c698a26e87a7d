"""Turns a published checkpoint into a file of ours: `python -m csst_jax.import_weights --source=… --checkpoint=FILE …`.

The file holds the weights under our names and says what it is for; `--config.teacher.pretrained=FILE` starts a training
from it, and `csst_jax.load(FILE)` makes a network of it. PyTorch is not needed.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from csst_jax.arguments import Parser
from csst_jax.models.weights import catalogue
from csst_jax.models.weights.importing import PACKAGES, import_weights
from csst_jax.runtime.signals import tell_interruption
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser("csst_jax.import_weights", "Writes a published checkpoint as a file of csst_jax.")
    parser.add_argument("--source", required=True, help=f"code base of the checkpoint: {', '.join(catalogue.SOURCES)}")
    parser.add_argument("--checkpoint", help="file to read: .safetensors, .pth or .pt; may be left out where an "
                        f"installed package holds it: {', '.join(PACKAGES)}")  # fmt: skip
    parser.add_argument("--network", required=True, help="name in the zoo (python -m csst_jax.models)")
    parser.add_argument("--num_classes", type=int, help="number of classes (default: as many as the checkpoint has)")
    parser.add_argument("--option", type=_option, action="append", default=[], metavar="NAME=VALUE",
                        help="builder's option, on top of the source's; for example lineage=smp")  # fmt: skip
    parser.add_argument("--prefix", help="prefix of the network's names in the checkpoint; without this flag, "
                        "wrappers' prefixes (module., model., _orig_mod.) are left out")  # fmt: skip
    parser.add_argument("--out", required=True, help="file to write, .safetensors")
    a = parser.parse_args(arguments)
    try:
        for line in import_weights(a.source, a.checkpoint, a.network, a.out, a.num_classes, dict(a.option), a.prefix):
            print(line)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or a.out}: {error.strerror}. Check the path and the disk.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    tell_interruption()
    sys.exit(main())
