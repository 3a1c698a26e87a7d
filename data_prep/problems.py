"""Collects problems with raw data: a user with ten bad files hears of ten, not of one after the other."""

from __future__ import annotations

import pathlib

from csst_jax.types import CsstError
from csst_jax.user_files import read_text

MAX_PROBLEMS = 10


class Problems:
    """Collects what is wrong with the raw data."""

    def __init__(self) -> None:
        self._messages: list[str] = []

    def add(self, message: str) -> None:
        """Notes a problem; raises when `MAX_PROBLEMS` have come together."""
        self._messages.append(message)
        if len(self._messages) >= MAX_PROBLEMS:
            self.raise_if_any()

    def raise_if_any(self) -> None:
        """Raises one CsstError with all problems, if there are any."""
        if len(self._messages) == 1:
            raise CsstError(self._messages[0])
        if self._messages:
            more = " (stopped looking here)" if len(self._messages) >= MAX_PROBLEMS else ""
            raise CsstError(f"{len(self._messages)} problems{more}:\n  " + "\n  ".join(self._messages))


def read_list(path: pathlib.Path, problems: Problems) -> list[list[str]]:
    """Words of each line that is not empty; a file that is missing or is no text goes to `problems`."""
    try:
        text = read_text(path, "one entry per line")
    except CsstError as error:
        problems.add(str(error))
        return []
    return [line.split() for line in text.splitlines() if line.strip()]
