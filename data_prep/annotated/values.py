"""Values of a JSON file that know where they are, so that what is wrong names its place and the fix."""

from __future__ import annotations

import json
import math
import pathlib
from typing import Any

from csst_jax.data.picture_file import Bad
from csst_jax.types import CsstError
from csst_jax.user_files import read_text


class Value:
    """A value of a file.

    Attributes:
      value: as `json` reads it.
      where: the file and the keys that lead there.
    """

    def __init__(self, value: Any, file: str, keys: str = ""):
        """`keys` is empty for the whole file."""
        self.value, self._file, self._keys = value, file, keys
        self.where = f"{file}: {keys}" if keys else file

    @classmethod
    def of_file(cls, path: pathlib.Path) -> Value:
        """A whole JSON file.

        Raises:
          Bad: it cannot be read, or is no JSON.
        """
        try:
            return cls(json.loads(read_text(path, "annotations")), str(path))
        except CsstError as error:
            raise Bad(str(error)) from error
        except (ValueError, RecursionError) as error:
            raise Bad(f"{path}: no readable JSON ({error}). Export the annotations again.") from error

    def __getitem__(self, key: str) -> Value:
        """The value of a key.

        Raises:
          Bad: there is none.
        """
        found = self.get(key)
        if found is None:
            raise Bad(f"{self.where}: {key!r} is missing. Export the annotations again.")
        return found

    def get(self, key: str) -> Value | None:
        """The value of a key; None where it is missing or null.

        Raises:
          Bad: this is no object.
        """
        found = self.fields().get(key)
        return None if found is None else Value(found, self._file, f"{self._keys}.{key}" if self._keys else key)

    def fields(self) -> dict[str, Any]:
        """The keys and values of an object.

        Raises:
          Bad: this is none.
        """
        if not isinstance(self.value, dict):
            raise Bad(f"{self.where} is {_short(self.value)} and must be an object. Export the annotations again.")
        return self.value

    def entries(self) -> list[Value]:
        """The entries of a list.

        Raises:
          Bad: this is none.
        """
        if not isinstance(self.value, list):
            raise Bad(f"{self.where} is {_short(self.value)} and must be a list. Export the annotations again.")
        return [Value(entry, self._file, f"{self._keys}[{place}]") for place, entry in enumerate(self.value)]

    def text(self) -> str:
        """A text that is not empty.

        Raises:
          Bad: this is none.
        """
        if not isinstance(self.value, str) or not self.value.strip():
            raise Bad(f"{self.where} is {_short(self.value)} and must be a text. Export the annotations again.")
        return self.value

    def number_or_text(self) -> float | str:
        """What tells things apart: a number or a text, as it is in the file.

        Raises:
          Bad: this is neither.
        """
        if not isinstance(self.value, int | float | str):
            raise Bad(f"{self.where} is {_short(self.value)} and must be a number. Export the annotations again.")
        return self.value

    def whole(self, least: int = 0) -> int:
        """A whole number of at least `least`; some tools write 640.0.

        Raises:
          Bad: this is none.
        """
        number = self.number()
        if number != int(number) or number < least:
            raise Bad(f"{self.where} is {_short(self.value)} and must be a whole number of at least {least}.")
        return int(number)

    def number(self) -> float:
        """A finite number.

        Raises:
          Bad: this is none.
        """
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or not math.isfinite(self.value):
            raise Bad(f"{self.where} is {_short(self.value)} and must be a number. Export the annotations again.")
        return float(self.value)

    def numbers(self) -> list[float]:
        """A list of finite numbers.

        Raises:
          Bad: this is none.
        """
        return [entry.number() for entry in self.entries()]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."
