"""The pipeline's flags; nothing here imports JAX, so that a wrong one is told at once."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from typing import TYPE_CHECKING

from absl import flags
from ml_collections import config_flags

from csst_jax.arguments import KEYS, Parser
from csst_jax.settings import config_file, ranges, recorded
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml_collections import ConfigDict

# Before the libraries that read them are imported. TensorFlow only feeds here, and its start-up notes are noise. XLA
# logs as an error that a compilation takes two minutes; what really fails raises an exception. A user who sets them to
# other values sees what the libraries log.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

_HELP = {"--help", "-help", "-h", "--helpfull", "-helpfull"}
_CONFIG_HELP = "Configuration: a file of yours, or the name of one that comes with csst_jax, such as folder or demo."


def define_config() -> flags.FlagHolder[ConfigDict]:
    """Defines `--config`, whose keys can be overridden as `--config.a.b=value`."""
    return config_flags.DEFINE_config_file("config", None, _CONFIG_HELP)


def parse_flags_of_workdir(argv: list[str]) -> list[str]:
    """As `parse_flags`; without `--config` the configuration is the one that the first `--workdir` was made with.

    One of both, or `--checkpoint`, must be there.
    """
    given = [position for position, argument in enumerate(argv) if re.match(r"--?workdir(=|$)", argument)]
    named = {argument.partition("=")[0].lstrip("-") for argument in argv}
    if given and "config" not in named:
        _, equals, value = argv[given[0]].partition("=")
        value = value if equals else "".join(argv[given[0] + 1 : given[0] + 2])
        # In front, as overrides come behind it.
        argv = [argv[0], f"--config={recorded.__file__}:{value.partition(',')[0]}", *argv[1:]]
    elif not given and not {"config", "checkpoint"} & named and not _HELP & set(argv):
        files = " To score files of weights, give --checkpoint and --config." if "checkpoint" in flags.FLAGS else ""
        print(
            f"error: --workdir is missing. Give the workdir of a run, for example --workdir=runs/mine.{files}",
            file=sys.stderr,
        )
        sys.exit(2)
    return parse_flags(argv)


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line; exits with status 2 and one line for a flag, file, key or value that is wrong."""
    if _HELP & set(argv):
        print(sys.modules["__main__"].__doc__)
        own = [flag.name for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0])]
        for name in ("config", *own):
            print(f"  --{name}: {flags.FLAGS[name].help}")
        print("  --config.KEY=VALUE: overrides a key; --helpfull lists all, configs/base.py explains every one.")
        if {"--helpfull", "-helpfull"} & set(argv):
            print(keys_help())
        sys.exit(0)
    try:
        argv = _located(argv)
        _require_config(argv)
        rest = flags.FLAGS(argv)
        if rest[1:]:
            raise CsstError("\n".join(_not_a_flag(argument) for argument in rest[1:]))
        _require_sound(flags.FLAGS)
    except (CsstError, flags.Error) as error:
        print(f"error: {_in_words(error, flags.FLAGS)}", file=sys.stderr)
        sys.exit(2)
    return rest


def parse_with_config(parser: Parser, argv: Sequence[str] | None) -> tuple[argparse.Namespace, ConfigDict | None]:
    """Parses flags of argparse that have `--config` among them, and loads that configuration with its overrides.

    Returns:
      The flags, and the configuration; None where `--config` is not given.

    Raises:
      CsstError: a file, key or value of the configuration is wrong.
    """
    known, overrides = parse_own(parser, argv)
    return known, None if known.config is None else with_overrides(known.config, overrides)[1]


def parse_own(parser: Parser, argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Parses flags of argparse that have `--config` among them; returns them, and the `--config.KEY=VALUE` beside."""
    if "--helpfull" in (sys.argv[1:] if argv is None else argv):
        print(f"{parser.format_help()}\n{keys_help()}")
        sys.exit(0)
    parser.require_known(argv, keys=True)
    known, rest = parser.parse_known_args(argv)
    if unknown := [argument for argument in rest if not argument.startswith(KEYS)]:
        parser.error(" ".join(_not_a_flag(argument) for argument in unknown))
    if rest and known.config is None:
        parser.error(f"{rest[0]} sets a key of a configuration, and --config is missing. Give --config=FILE as well.")
    return known, rest


def with_overrides(chosen: str, overrides: Sequence[str]) -> tuple[ConfigDict, ConfigDict]:
    """A configuration alone, and with its overrides.

    Args:
      chosen: value of `--config`.
      overrides: `--config.KEY=VALUE` each.

    Raises:
      CsstError: a file, key or value of the configuration is wrong.
    """
    arguments = ["csst", f"--config={config_file.located(chosen)}", *overrides]
    _require_config(arguments)
    own = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "The configuration.", flag_values=own, sys_argv=arguments)
    try:
        own(arguments)
    except flags.Error as error:
        raise CsstError(_in_words(error, own)) from error
    return config_file.load(chosen), _require_sound(own)


def keys_help() -> str:
    """Every key of a configuration, with its default in configs/base.py and what it may be, a line each."""
    lines = ["", "Keys, with their defaults in configs/base.py; other configurations set some of them:"]
    for key, value in ranges.known_keys().items():
        kind = ranges.ALL.get(key)
        allowed = f"  ({kind.words(value).removeprefix('give ')})" if kind else ""
        lines.append(f"  --config.{key}={value}{allowed}")
    return "\n".join(lines)


def _require_sound(parsed: flags.FlagValues) -> ConfigDict:
    """The configuration with its overrides."""
    config = parsed["config"].value
    assert config is not None  # `_require_config` has seen to that
    ranges.require_sound(config)
    return config


def _in_words(error: CsstError | flags.Error, known: flags.FlagValues) -> str:
    """What is wrong with a flag; absl's own words are those of a program."""
    if isinstance(error, flags.UnrecognizedFlagError):
        names = [*known, *(f"config.{key}" for key in ranges.known_keys())]
        near = difflib.get_close_matches(error.flagname, names, n=1)
        return f"there is no flag --{error.flagname}." + (
            f" Did you mean --{near[0]}?" if near else " --help lists all."
        )
    text = str(error)
    if match := re.fullmatch(r"flag --(\w+)=None: Flag --\1 must have a value other than None\.", text):
        return f"--{match[1]} is missing. {known[match[1]].help}"
    match = re.match(r"flag --config\.([^=]+)=(.*?): ", text, re.DOTALL)
    if match and (kind := ranges.ALL.get(match[1])):
        return f"{match[1]} is {match[2]!r}; {kind.words(match[2])}."
    if match := re.match(r"flag --([^=]+)=(.*?): \('Non-boolean argument", text, re.DOTALL):
        return f"--{match[1]} is {match[2]!r}; give True or False."
    return text


def _not_a_flag(argument: str) -> str:
    """What to say of an argument that is no flag: misspelt, its dashes forgotten, or changed by a text processor."""
    name = argument.lstrip("-\u2010\u2011\u2012\u2013\u2014\u2212")
    known = "config" in name.partition("=")[0].split(".") or name.partition("=")[0] in flags.FLAGS
    hint = f" Did you mean --{name}?" if known else ""
    return f"{argument!r} is not a flag: flags begin with two dashes.{hint}"


def _require_config(argv: list[str]) -> None:
    """Loads the configuration alone, then compares the overrides' names with its keys.

    ml_collections reports an unknown section by its bare name, without the flag it stood in; here it is named in full.

    Raises:
      CsstError: there is no configuration, it cannot be loaded, or a key is unknown; or an override comes before it.
    """
    at, chosen = _chosen_config(argv)
    keys = ranges.flattened(config_file.load(chosen))
    for position, argument in enumerate(argv):
        match = re.match(r"--?(?:no)?config\.([^=]+)", argument)
        if match and match.group(1) not in keys:
            raise CsstError(f"unknown configuration key {match[1]!r} in {argument}. {ranges.near(match[1])}")
        if match and position < at:
            raise CsstError(f"{argument} comes before --config={chosen}; put --config first, the keys after it.")


def _located(argv: list[str]) -> list[str]:
    """The command line with a file where `--config` names one of ours: ml_collections opens files alone."""
    at, chosen = _chosen_config(argv)
    found = config_file.located(chosen)
    if "=" in argv[at]:
        return [*argv[:at], f"--config={found}", *argv[at + 1 :]]
    return [*argv[: at + 1], found, *argv[at + 2 :]]


def _chosen_config(argv: list[str]) -> tuple[int, str]:
    """The position and the value of the last `--config=FILE` or `--config FILE`."""
    found = None
    for position, argument in enumerate(argv):
        if argument.startswith(("--config=", "-config=")):
            found = position, argument.partition("=")[2]
        elif argument in ("--config", "-config") and position + 1 < len(argv):
            found = position, argv[position + 1]
    if found is None or not found[1] or found[1].startswith("-"):
        raise CsstError(
            "--config is missing; give a configuration file, or the name of one, for example --config=demo."
        )
    return found
