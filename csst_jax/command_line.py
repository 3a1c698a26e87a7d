"""The pipeline's flags; nothing here imports JAX, so that a wrong one is told at once."""

from __future__ import annotations

import argparse
import difflib
import pathlib
import re
import sys
from typing import TYPE_CHECKING

from absl import flags
from ml_collections import config_flags

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml_collections import ConfigDict


def define_config() -> flags.FlagHolder[ConfigDict]:
    """Defines `--config`, whose keys can be overridden as `--config.a.b=value`."""
    return config_flags.DEFINE_config_file("config", None, "Configuration file, for example configs/demo.py.")


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line; exits with status 2 and one line for a flag, file, key or value that is wrong."""
    if {"--help", "-help", "-h"} & set(argv):
        print(sys.modules["__main__"].__doc__)
        own = [flag.name for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0])]
        for name in ("config", *own):
            print(f"  --{name}: {flags.FLAGS[name].help}")
        print("  --config.KEY=VALUE: overrides a key; configs/base.py explains every one.")
        sys.exit(0)
    try:
        _load_alone(argv)
        return flags.FLAGS(argv)
    except (CsstError, flags.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def parse_with_config(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> tuple[argparse.Namespace, ConfigDict | None]:
    """Parses flags of argparse that have `--config` among them, and loads that configuration with its overrides.

    Returns:
      The flags, and the configuration; None where `--config` is not given.

    Raises:
      CsstError: a file, key or value of the configuration is wrong.
    """
    known, rest = parser.parse_known_args(argv)
    overrides = [argument for argument in rest if argument.startswith("--config.") and known.config is not None]
    if unknown := [argument for argument in rest if argument not in overrides]:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if known.config is None:
        return known, None
    arguments = [parser.prog, f"--config={known.config}", *overrides]
    _load_alone(arguments)
    own = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "The configuration.", flag_values=own, sys_argv=arguments)
    try:
        own(arguments)
    except flags.Error as error:
        raise CsstError(str(error)) from error
    return known, own["config"].value


def _load_alone(argv: list[str]) -> None:
    """Loads the configuration alone, then compares the overrides' names with its keys.

    ml_collections reports an unknown section by its bare name, without the flag it stood in; here it is named in full.
    """
    files = [arg for arg in argv if re.match(r"--?config=", arg)]
    if not files:
        raise CsstError("--config is missing; give a configuration file, for example --config=configs/demo.py.")
    path = pathlib.Path(files[-1].partition("=")[2].partition(":")[0])
    if not path.is_file():
        known = ", ".join(sorted(str(p) for p in pathlib.Path("configs").glob("[!_]*.py")))
        raise CsstError(f"--config={path}: no such file{f'; there are: {known}' if known else ''}.")
    alone = flags.FlagValues()
    # Without sys_argv it would take the overrides from the process's own command line, and stumble over a wrong one.
    without_overrides = [argv[0], files[-1]]
    config_flags.DEFINE_config_file(
        "config", None, "The configuration alone.", flag_values=alone, sys_argv=without_overrides
    )
    alone(without_overrides)
    keys = leaf_keys(alone["config"].value)
    for arg in argv[1:]:
        match = re.match(r"--?(?:no)?config\.([^=]+)", arg)
        if match and match.group(1) not in keys:
            key = match.group(1)
            last = {k.rpartition(".")[2]: k for k in keys}
            near = difflib.get_close_matches(key, keys, n=3) or [
                last[k] for k in difflib.get_close_matches(key.rpartition(".")[2], last, n=3)
            ]
            hint = f"Near ones: {', '.join(near)}." if near else f"Known: {', '.join(keys)}."
            raise CsstError(f"unknown configuration key {key!r} in {arg}. {hint} configs/base.py explains every key.")


def leaf_keys(config: ConfigDict, prefix: str = "") -> list[str]:
    """All keys of a configuration as dotted names."""
    keys: list[str] = []
    for key, value in config.items():
        keys += leaf_keys(value, f"{prefix}{key}.") if hasattr(value, "items") else [prefix + key]
    return keys
