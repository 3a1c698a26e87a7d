"""Kinds of values that a key of the configuration can have: each knows what it allows, and says so in words."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection


class Kind(Protocol):
    """What a value must be."""

    def allows(self, value: Any) -> bool:
        """Whether it is."""
        ...

    def words(self, value: Any) -> str:
        """What to give instead of a value that is not allowed."""
        ...


@dataclasses.dataclass(frozen=True)
class Number:
    """A finite number.

    Attributes:
      low: the least.
      high: the largest.
      above: whether `low` itself is not allowed.
      below: whether `high` itself is not allowed.
      whole: whether it must be an integer.
      or_else: a value outside of the range that stands for something else.
      meaning: what that value stands for.
    """

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False
    whole: bool = False
    or_else: float | None = None
    meaning: str = ""

    def allows(self, value: Any) -> bool:
        """See `Kind`; True and False are no numbers."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        if self.or_else is not None and value == self.or_else:
            return True
        too_low = value <= self.low if self.above else value < self.low
        too_high = value >= self.high if self.below else value > self.high
        return math.isfinite(value) and not too_low and not too_high

    def words(self, value: Any) -> str:
        """See `Kind`."""
        del value
        return f"give {self.described}"

    @property
    def described(self) -> str:
        """The range, as a part of a sentence."""
        kind = "a whole number" if self.whole else "a number"
        if self.high < math.inf:
            start = f"above {self.low}" if self.above else f"from {self.low}"
            text = f"{kind} {start} to {'below ' if self.below else ''}{self.high}"
        else:
            text = f"{kind} {'above' if self.above else 'of at least'} {self.low}"
        return text if self.or_else is None else f"{text}, or {self.or_else} for {self.meaning}"


def whole(low: int, high: float = math.inf, **more: Any) -> Number:
    """A whole number."""
    return Number(low, high, whole=True, **more)


SHARE = Number(0, 1)
"""From 0 to 1, both of them allowed."""
LESS_THAN_ALL = Number(0, 1, below=True)
"""From 0 to below 1."""
POSITIVE = Number(0, above=True)


@dataclasses.dataclass(frozen=True)
class Switch:
    """True or False."""

    def allows(self, value: Any) -> bool:
        """See `Kind`; 0 and 1 are no switches."""
        return isinstance(value, bool)

    def words(self, value: Any) -> str:
        """See `Kind`."""
        del value
        return "give True or False"


@dataclasses.dataclass(frozen=True)
class Text:
    """Text on one line.

    Attributes:
      empty: whether it may be empty.
    """

    empty: bool = True

    def allows(self, value: Any) -> bool:
        """See `Kind`."""
        return isinstance(value, str) and (self.empty or bool(value.strip())) and not re.search(r"[\0\r\n]", value)

    def words(self, value: Any) -> str:
        """See `Kind`."""
        del value
        return "give text on one line" if self.empty else "give text on one line that is not empty"


@dataclasses.dataclass(frozen=True)
class OneOf:
    """One of some values.

    Attributes:
      known: they.
    """

    known: Collection[Any]

    def allows(self, value: Any) -> bool:
        """See `Kind`."""
        return type(value) in {type(one) for one in self.known} and value in self.known

    def words(self, value: Any) -> str:
        """See `Kind`; names the nearest one, too."""
        listed = ", ".join(str(one) for one in self.known)
        near = difflib.get_close_matches(value, [str(one) for one in self.known], n=1) if isinstance(value, str) else []
        return f"give {f'{near[0]!r} or another ' if near else ''}one of: {listed}"


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Numbers in brackets.

    Attributes:
      each: what each of them must be.
      count: how many; None for one or more.
      none: what an empty value stands for; None where it is not allowed.
    """

    each: Number
    count: int | None = None
    none: str | None = None

    def allows(self, value: Any) -> bool:
        """See `Kind`."""
        if not isinstance(value, list | tuple) or not all(self.each.allows(number) for number in value):
            return False
        if not len(value):
            return self.none is not None
        return self.count in (None, len(value))

    def words(self, value: Any) -> str:
        """See `Kind`."""
        del value
        many = "one number or more" if self.count is None else f"{self.count} numbers"
        example = "0.5, 1.0" if self.count is None else ", ".join(["0.5"] * self.count)
        instead = "" if self.none is None else f", or () for {self.none}"
        return f"give {many} in brackets, such as ({example}), each {self.each.described}{instead}"


@dataclasses.dataclass(frozen=True)
class Rules:
    """Pairs of a pattern, which is a regular expression, and a factor of at least 0."""

    factor: Number = Number(0)

    def allows(self, value: Any) -> bool:
        """See `Kind`."""
        return isinstance(value, list | tuple) and all(self._is_rule(pair) for pair in value)

    def _is_rule(self, pair: Any) -> bool:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            return False
        try:
            re.compile(pair[0])
        except re.error:
            return False
        return self.factor.allows(pair[1])

    def words(self, value: Any) -> str:
        """See `Kind`."""
        del value
        return "give pairs of a regular expression and a factor of at least 0, such as (('^backbone', 0.1),)"


@dataclasses.dataclass(frozen=True)
class Steps:
    """The first and the last of some steps, counted from 1, in brackets; or none."""

    def allows(self, value: Any) -> bool:
        """See `Kind`."""
        if not isinstance(value, list | tuple) or not all(whole(1).allows(step) for step in value):
            return False
        return not value or (len(value) == 2 and value[0] <= value[1])

    def words(self, value: Any) -> str:
        """See `Kind`."""
        del value
        return "give the first and the last step in brackets, such as (20, 25), or () for none"
