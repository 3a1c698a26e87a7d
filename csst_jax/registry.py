"""Names that a configuration chooses from: explicit dicts from name to import path, resolved when one is chosen."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from typing import TYPE_CHECKING, Any

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping


def resolve(kind: str, known: Mapping[str, str], name: str) -> Any:
    """What a name stands for.

    Args:
      kind: what the names are of, for the message.
      known: from name to "module:attribute".
      name: the chosen one.

    Raises:
      CsstError: unknown name; lists the known ones, and the nearest.
    """
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise CsstError(f"unknown {kind} {name!r}; known are: {', '.join(sorted(known))}.{hint}")
    module, _, attribute = known[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def settings(kind: str, known: Mapping[str, str], name: str, values: Mapping[str, Any]) -> Any:
    """The settings of what a name stands for: its `Settings`, or itself where it has none, filled with the values.

    Args:
      kind: as for `resolve`.
      known: as for `resolve`; each attribute is a dataclass, or has one that is called `Settings`.
      name: as for `resolve`.
      values: by field.

    Raises:
      CsstError: unknown name; a value is missing, unknown or out of range.
    """
    found = resolve(kind, known, name)
    chosen = getattr(found, "Settings", found)
    fields = {field.name for field in dataclasses.fields(chosen)}
    if wrong := sorted(fields ^ set(values)):
        listed = ", ".join(f"{key} is {'missing' if key in fields else 'unknown'}" for key in wrong)
        raise CsstError(f"settings of the {kind} {name!r}: {listed}; its block has: {', '.join(sorted(fields))}.")
    return chosen(**values)
