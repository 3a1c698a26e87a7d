"""JSON files that are whole or not there, and JSON values: their hash, and what differs between two."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from csst_jax.runtime.storage import StoragePath, replacing
from csst_jax.types import CsstError


def write_json(path: StoragePath, value: Any) -> None:
    """Writes a JSON file atomically: readers see the old one or the new one, whole."""
    with replacing(path) as made:
        made.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: StoragePath, fix: str = "Delete this file and run the same command again.") -> Any:
    """Reads a JSON file.

    Args:
      path: the file.
      fix: what to do where it is damaged.

    Raises:
      CsstError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CsstError(f"cannot read {path}: {error}. {fix}") from error


def fingerprint(value: Any) -> str:
    """SHA-256 of a JSON-able value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def differences(old: Any, new: Any, now: str = "now", at: str = "") -> list[str]:
    """What differs between two JSON-able values, a line each.

    Args:
      old: nested dicts.
      new: likewise.
      now: what the second value is called.
      at: the key that leads to both.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        return [d for key in sorted({*old, *new}) for d in differences(old.get(key), new.get(key), now, f"{at}.{key}")]
    if old == new:
        return []
    short = [text if len(text) <= 40 else text[:37] + "..." for text in (json.dumps(old), json.dumps(new))]
    return [f"{at[1:]}: {short[0]} there, {short[1]} {now}"]


def shared(one: dict[str, Any], other: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both, with the keys that both have: a version may know a key that another does not."""
    keys = one.keys() & other.keys()
    nested = {k: shared(one[k], other[k]) for k in keys if isinstance(one[k], dict) and isinstance(other[k], dict)}
    return tuple({k: nested[k][side] if k in nested else (one, other)[side][k] for k in keys} for side in (0, 1))  # type: ignore[return-value]
