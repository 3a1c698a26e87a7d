"""What wrappers put in front of a checkpoint's names: torch.compile, DistributedDataParallel, Lightning and others."""

from __future__ import annotations

import collections
import re
from typing import TYPE_CHECKING

from csst_jax.models.weights import rules
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy as np

    from csst_jax.models.weights.rules import Source

_WRAPPERS = {"module", "model", "net", "network", "_forward_module"}
_COMPILED = "_orig_mod."  # torch.compile puts it wherever it was called
_DEPTH = 3
_SHARE = 0.2  # of all entries, that those of a network have at least


def strip(
    source: Source, entries: Mapping[str, np.ndarray], prefix: str | None, where: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The entries by the names that a source knows, and what there is to say of it.

    Args:
      source: its rules decide whether a prefix hides the network.
      entries: the checkpoint.
      prefix: in front of the network's names; None to look for one that wrappers use.
      where: the checkpoint, for messages.

    Raises:
      CsstError: no entry begins with `prefix`; or the network lies below a name that no wrapper uses, or below several.
    """
    entries = {name.replace(_COMPILED, ""): value for name, value in entries.items()}
    if prefix is not None:
        prefix = f"{prefix.rstrip('.')}." if prefix else ""
        if not any(name.startswith(prefix) for name in entries):
            raise CsstError(f"{where}: no entry begins with {prefix!r}; they begin with {_beginnings(entries)}.")
        return _below(prefix, entries)
    counts = {"": rules.known(source, entries)}
    if counts[""] < len(entries):
        counts |= {found: _known_below(found, source, entries) for found in _candidates(entries)}
    most = max(counts.values())
    best = [found for found, count in counts.items() if count == most]
    if not most:
        raise CsstError(
            f"{where}: none of its {len(entries)} entries is one that source {source.name!r} knows for this network; "
            f"they begin with {_beginnings(entries)}. Give the --source and --network that it is of."
        )
    if "" in best:
        return entries, []
    if len(best) > 1 or set(best[0].rstrip(".").split(".")) - _WRAPPERS:
        raise CsstError(
            f"{where}: the network's entries begin with {' and with '.join(map(repr, best))}. Say which are meant: "
            f"{' or '.join(f'--prefix={found}' for found in best)}"
        )
    return _below(best[0], entries)


def _below(prefix: str, entries: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    inside = {name.removeprefix(prefix): value for name, value in entries.items() if name.startswith(prefix)}
    outside = [name for name in entries if not name.startswith(prefix)]
    said = [f"names begin with {prefix!r}, which is left out"] if prefix else []
    if outside:
        more = ", …" if len(outside) > 3 else ""
        said.append(f"{len(outside)} entries outside of {prefix!r} are left out: {', '.join(outside[:3])}{more}")
    return inside, said


def _candidates(names: Collection[str]) -> list[str]:
    """Beginnings that many names share, the longest last."""
    counts: collections.Counter[str] = collections.Counter()
    for name in names:
        parts = name.split(".")
        counts.update(".".join(parts[:depth]) + "." for depth in range(1, min(_DEPTH + 1, len(parts))))
    many = [found for found, count in counts.items() if count >= _SHARE * len(names)]
    return sorted(many, key=lambda found: found.count("."))


def _known_below(prefix: str, source: Source, entries: Mapping[str, np.ndarray]) -> int:
    return rules.known(source, [name.removeprefix(prefix) for name in entries if name.startswith(prefix)])


def _beginnings(names: Collection[str]) -> str:
    counts = collections.Counter(re.split(r"(?<=\.)", name, maxsplit=1)[0] for name in names)
    return ", ".join(f"{beginning!r} ({count})" for beginning, count in counts.most_common(5))
