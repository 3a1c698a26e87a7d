"""Carries a checkpoint's entries over to our names by rules, strictly: nothing is left over on either side."""

from __future__ import annotations

import collections
import dataclasses
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from csst_jax.models.preprocessing import IMAGENET, Preprocessing
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping


@dataclasses.dataclass(frozen=True)
class Source:
    """How the checkpoints of one code base and network are read.

    Attributes:
      name: for messages.
      rules: (pattern, replacement, transform): an entry whose whole name matches becomes the replacement, its value
        transformed. The first rule that matches counts. Replacements that end in "[0]", "[1]" and so on are parts of
        one array, in this order along its last axis.
      drop: (name, pattern): entries that we have no use for; they win over rules.
      preprocessing: what the checkpoint's network expects of its input.
      options: builder's options under which our network is that of the checkpoint.
      backbone: whether the source fills the parameters under "backbone." alone.
      zero: patterns of our names. Where a checkpoint fills none of the arrays whose whole name matches, all of them are
        zero: it is of a network without them. Where it fills some, the others are missing.
    """

    name: str
    rules: tuple[tuple[str, str, str], ...]
    drop: tuple[tuple[str, str], ...] = ()
    preprocessing: Preprocessing = IMAGENET
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    backbone: bool = False
    zero: tuple[str, ...] = ()


# PyTorch's leaves. A weight's rank tells a convolution from a linear layer and from a normalisation.
_LEAVES = {"running_mean": "mean", "running_var": "var", "bias": "bias"}


def _query_and_value(name: str, value: np.ndarray) -> tuple[str, np.ndarray]:
    """Of biases of queries, keys and values those of queries and values: of a reference that makes keys' zero."""
    third = len(value) // 3
    return name, np.concatenate([value[:third], value[2 * third :]])


def _torch(name: str, value: np.ndarray) -> tuple[str, np.ndarray]:
    """A leaf of a PyTorch layer, under the name that it has in ours; a linear layer becomes a 1x1 convolution."""
    parent, _, leaf = name.rpartition(".")
    if leaf == "weight" and value.ndim == 4:
        return f"{parent}.kernel", np.transpose(value, (2, 3, 1, 0))
    if leaf == "weight" and value.ndim == 2:
        return f"{parent}.kernel", np.transpose(value)[None, None]
    if leaf == "weight" and value.ndim == 1:
        return f"{parent}.scale", value
    return (f"{parent}.{_LEAVES[leaf]}" if leaf in _LEAVES else name), value


TRANSFORMS: dict[str, Callable[[str, np.ndarray], tuple[str, np.ndarray]]] = {
    "torch": _torch,
    "identity": lambda name, value: (name, value),
    "conv": lambda name, value: (name, np.transpose(value, (2, 3, 1, 0))),  # OIHW -> HWIO
    "transposed_conv": lambda name, value: (name, np.transpose(value, (2, 3, 0, 1))),  # IOHW -> HWIO
    "conv1d": lambda name, value: (name, np.transpose(value, (2, 1, 0))[None]),  # OIW -> 1WIO
    "linear": lambda name, value: (name, np.transpose(value)),
    "linear_as_conv": lambda name, value: (name, np.transpose(value)[None, None]),
    "query_and_value": _query_and_value,
}
"""From (name after replacement, value) to our name and value. "torch" goes by the leaf's name and rank."""


def modules(*pairs: tuple[str, str]) -> tuple[tuple[str, str, str], ...]:
    """Rules for whole modules: (pattern, replacement) of a module's name, for every leaf that PyTorch gives it."""
    leaf = r"\.(weight|bias|running_mean|running_var)"
    rules = []
    for pattern, replacement in pairs:
        last = re.compile(pattern).groups + 1
        rules.append((pattern + leaf, rf"{replacement}.\g<{last}>", "torch"))
    return tuple(rules)


def linears(*pairs: tuple[str, str]) -> tuple[tuple[str, str, str], ...]:
    """Rules for linear layers: as `modules` reads them, but they also say that these are no 1x1 convolutions there."""
    rules = []
    for pattern, replacement in pairs:
        rules.append((rf"{pattern}\.weight", f"{replacement}.kernel", "linear_as_conv"))
        rules.append((rf"{pattern}\.bias", f"{replacement}.bias", "identity"))
    return tuple(rules)


BATCH_COUNTER = ("num_batches_tracked", r".*\.num_batches_tracked")
"""PyTorch's count of training steps in a normalisation layer: unused when its momentum is a constant."""


_PART = re.compile(r"(.*)\[(\d)\]")


@dataclasses.dataclass
class _Renamed:
    values: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    origin: dict[str, str] = dataclasses.field(default_factory=dict)
    unused: list[str] = dataclasses.field(default_factory=list)
    twice: list[str] = dataclasses.field(default_factory=list)
    dropped: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


def _rename(source: Source, entries: Mapping[str, np.ndarray]) -> _Renamed:
    drop = [(name, re.compile(pattern)) for name, pattern in source.drop]
    rules = [(re.compile(pattern), replacement, TRANSFORMS[kind]) for pattern, replacement, kind in source.rules]
    out = _Renamed()
    for entry, value in entries.items():
        reason = next((name for name, pattern in drop if pattern.fullmatch(entry)), None)
        if reason is not None:
            out.dropped[reason] += 1
            continue
        found = ((m, r, t) for pattern, r, t in rules if (m := pattern.fullmatch(entry)) is not None)
        match, replacement, transform = next(found, (None, "", TRANSFORMS["identity"]))
        if match is None:
            out.unused.append(entry)
            continue
        name, new = transform(match.expand(replacement), value)
        if name in out.origin:
            out.twice.append(f"{name} from {out.origin[name]} and from {entry}")
        out.values[name], out.origin[name] = new, entry
    _join(out)
    return out


def _join(renamed: _Renamed) -> None:
    """Parts become the array that they are of, where all from the first to the last are there and fit."""
    parts: dict[str, dict[int, str]] = collections.defaultdict(dict)
    for name in renamed.values:
        if match := _PART.fullmatch(name):
            parts[match[1]][int(match[2])] = name
    for whole, names in parts.items():
        values = [renamed.values[names[n]] for n in range(len(names)) if n in names]
        if len(values) == len(names) and len({value.shape[:-1] for value in values}) == 1:
            origins = [renamed.origin.pop(names[n]) for n in range(len(names))]
            for name in names.values():
                del renamed.values[name]
            renamed.values[whole], renamed.origin[whole] = np.concatenate(values, -1), ", ".join(origins)


def known(source: Source, names: Iterable[str]) -> int:
    """How many names a rule or a drop rule of the source matches."""
    patterns = [re.compile(pattern) for pattern in (*(p for p, _, _ in source.rules), *(p for _, p in source.drop))]
    return sum(any(pattern.fullmatch(name) for pattern in patterns) for name in names)


def dropped(source: Source, entries: Mapping[str, np.ndarray]) -> dict[str, int]:
    """How many entries each named drop rule takes."""
    return dict(_rename(source, entries).dropped)


def number_of_classes(source: Source, entries: Mapping[str, np.ndarray], classifier: Collection[str]) -> int | None:
    """Classes of the checkpoint's logits: the last axis of the classifiers' parameters; None if it has none."""
    values = _rename(source, entries).values
    found = {values[name].shape[-1] for name in classifier if name in values and values[name].ndim}
    return found.pop() if len(found) == 1 else None


def apply(
    source: Source,
    entries: Mapping[str, np.ndarray],
    like: Mapping[str, tuple[int, ...]],
    classifier: Collection[str] = (),
) -> dict[str, np.ndarray]:
    """The checkpoint's values under our names, float32.

    Args:
      source: the rules.
      entries: the checkpoint.
      like: name -> shape of every parameter and statistic that has to be filled.
      classifier: those of our names whose last axis is the number of classes. If it differs from the checkpoint's in
        all of them they are left out of the result; the caller has initial values for them.

    Raises:
      CsstError: anything left over, missing, filled twice or of another shape; lists all differences of both sides.
    """
    renamed = _rename(source, entries)
    values = renamed.values
    other_classes = {
        name
        for name in set(classifier) & values.keys() & like.keys()
        if values[name].ndim == len(like[name])
        and values[name].shape[:-1] == tuple(like[name])[:-1]
        and values[name].shape[-1] != like[name][-1]
    }
    if other_classes != set(classifier) & like.keys():
        other_classes = set()  # some fit and some do not: that is no other number of classes but another network
    shapes = [
        f"{name} {_shape(like[name])} from {renamed.origin[name]} {_shape(values[name].shape)}"
        for name in sorted(values.keys() & like.keys() - other_classes)
        if values[name].shape != tuple(like[name])
    ]
    for pattern in source.zero:
        matching = [name for name in like if re.fullmatch(pattern, name)]
        if not values.keys() & set(matching):
            values |= {name: np.zeros(like[name], np.float32) for name in matching}
    missing = sorted(like.keys() - values.keys())
    unknown = [f"{renamed.origin[name]} (as {name})" for name in sorted(values.keys() - like.keys())]
    differences = [
        ("ours that nothing fills", missing),
        ("the checkpoint's that we have no parameter for", unknown),
        ("the checkpoint's that no rule matches", sorted(renamed.unused)),
        ("shapes that differ (ours, then the checkpoint's)", shapes),
        ("ours filled twice", sorted(renamed.twice)),
    ]
    if any(items for _, items in differences):
        text = "".join(_listing(title, items) for title, items in differences if items)
        raise CsstError(
            f"the checkpoint does not fit this network as source {source.name!r}: is it of another source, network, "
            f"backbone or lineage?{text}"
        )
    return {name: np.asarray(value, np.float32) for name, value in values.items() if name not in other_classes}


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "()"


def _listing(title: str, items: list[str]) -> str:
    return f"\n  {title} ({len(items)}):" + "".join(f"\n    {item}" for item in items)
