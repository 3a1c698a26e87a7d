"""`python -m csst_jax.study --config=configs/studies/NAME.py --workdir=DIR [--config.KEY=VALUE …]`.

Runs a grid of arms and seeds that a file names, and writes tables and a chart: mean and spread over the seeds, wall
time, commands, versions. What runs have in common is made once. The same command continues where it stopped. Some
studies take options after a colon, NAME.py:OPTION=VALUE,… (docs/studies.md).
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from csst_jax import command_line
from csst_jax.arguments import Parser
from csst_jax.runtime.patience import to_stderr, told
from csst_jax.runtime.signals import tell_interruption
from csst_jax.studying import arms, flags, study_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml_collections import ConfigDict


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 1 when a run failed, 2 when there is something to fix."""
    parser = Parser("csst_jax.study", __doc__)
    ours = ", ".join(study_file.names())
    parser.add_argument("--config", required=True, help=f"a study's file, or the name of one of csst_jax: {ours}")
    parser.add_argument("--arms", type=flags.words, default=(), help="arms to run, separated by commas (default: all)")
    parser.add_argument(
        "--seeds", type=flags.seeds, default=(), help="seeds, separated by commas (default: the study's own)"
    )
    flags.add_flags(parser)
    given, overrides = command_line.parse_own(parser, arguments)
    with told("importing JAX", to_stderr):  # takes a second or more: not before the flags are right
        from csst_jax.studying import command
    return command.finish(lambda: _study(given, overrides))


def _study(given: argparse.Namespace, overrides: Sequence[str]) -> int:
    from csst_jax.runtime import claim
    from csst_jax.studying import command

    study = study_file.load(given.config).only(given.arms, given.seeds)
    workdir = command.directory(given.workdir)

    def load(chosen: str) -> tuple[ConfigDict, ConfigDict]:
        return command_line.with_overrides(chosen, overrides)

    arms.refuse_overrides(study, load)
    with claim.locked(workdir):
        return command.run(study, workdir, load, given.jobs, given.dry_run)


if __name__ == "__main__":
    tell_interruption()
    sys.exit(main())
