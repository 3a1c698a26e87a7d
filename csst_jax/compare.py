"""`python -m csst_jax.compare --config=FILE --methods=a,b --seeds=0,1,2 --workdir=DIR [--config.KEY=VALUE …]`.

Trains one network by several methods on the same data for the same number of steps, and writes a table and a chart:
mean and spread over the seeds. One row is always masks alone. Another row has all masks if the pool has masks. What
runs have in common is made once. The same command continues where it stopped (docs/compare.md).
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from csst_jax import command_line
from csst_jax.arguments import Parser
from csst_jax.runtime.patience import to_stderr, told
from csst_jax.runtime.signals import tell_interruption
from csst_jax.studying import flags
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 1 when a run failed, 2 when there is something to fix."""
    parser = Parser("csst_jax.compare", __doc__)
    parser.add_argument("--config", required=True, help="as for csst_jax.main; --config.KEY=VALUE holds for all runs")
    parser.add_argument(
        "--methods",
        type=flags.words,
        required=True,
        help=f"names, separated by commas: {', '.join(flags.known_methods())}",
    )
    parser.add_argument(
        "--seeds", type=flags.seeds, default=(0, 1, 2), help="seeds, separated by commas (default 0,1,2)"
    )
    flags.add_flags(parser)
    given, overrides = command_line.parse_own(parser, arguments)
    with told("importing JAX", to_stderr):  # takes a second or more: not before the flags are right
        from csst_jax.studying import command
    return command.finish(lambda: _compare(given, overrides))


def _compare(given: argparse.Namespace, overrides: Sequence[str]) -> int:
    from csst_jax.runtime import claim
    from csst_jax.studying import command, methods

    if stages := [word for word in overrides if word.startswith("--config.stages")]:
        raise CsstError(f"{stages[0]}: the methods decide which stages there are; leave it out.")
    plain, config = command_line.with_overrides(given.config, overrides)
    workdir = command.directory(given.workdir)
    with claim.locked(workdir):
        study = methods.study(config, given.config, given.methods, given.seeds, workdir)
        return command.run(study, workdir, lambda _: (plain, config), given.jobs, given.dry_run)


if __name__ == "__main__":
    tell_interruption()
    sys.exit(main())
