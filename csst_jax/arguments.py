"""The command line of every command that reads its flags with argparse: what is wrong is said in one line."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYS = "--config."
"""Begins a flag that sets a key of a configuration."""
_REQUIRED = "the following arguments are required: "
"""How argparse begins a message."""


class Parser(argparse.ArgumentParser):
    """Names a flag that there is not before one that is missing in its place, and does not list all flags beside it."""

    def __init__(self, command: str | None, description: str | None) -> None:
        """Makes it for `python -m COMMAND`; with None, for the name that the process has. `--helpfull` is `--help`."""
        super().__init__(
            prog=f"python -m {command}" if command else None,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--helpfull", action="help", help=argparse.SUPPRESS)

    def parse_args(  # type: ignore[override]  # of overloads
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """As argparse's."""
        self.require_known(args)
        return super().parse_args(args, namespace)

    def require_known(self, args: Sequence[str] | None, keys: bool = False) -> None:
        """Exits with 2 if there is no such flag; `keys` says whether those of a configuration are among them."""
        given = sys.argv[1:] if args is None else args
        for name in (argument.partition("=")[0] for argument in given if argument.startswith("--")):
            if name in ("--", *self._option_string_actions) or (keys and name.startswith(KEYS)):
                continue
            near = difflib.get_close_matches(name, self._option_string_actions, n=1)
            self.error(f"there is no flag {name}." + (f" Did you mean {near[0]}?" if near else ""))

    def error(self, message: str) -> NoReturn:
        """As argparse's, without the list of all flags."""
        if message.startswith(_REQUIRED):
            missing = message.removeprefix(_REQUIRED)
            message = f"{missing} {'are' if ', ' in missing else 'is'} missing."
        self.exit(2, f"error: {message}{'' if message.endswith(('.', '?')) else '.'} --help explains every flag.\n")


def height_and_width(text: str, flag: str) -> tuple[int, int]:
    """The pixels that `HEIGHTxWIDTH` stands for.

    Raises:
      CsstError: the text is not of this form; names the flag.
    """
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise CsstError(f"{flag}={text}: give HEIGHTxWIDTH in pixels, such as 512x1024.")
    return int(match[1]), int(match[2])


def print_all(text: str) -> None:
    """Prints to stdout, which its reader may have closed by now (`csst status --workdir=runs/mine | head -2`)."""
    try:
        print(text, flush=True)
    except BrokenPipeError:  # Python would try again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
