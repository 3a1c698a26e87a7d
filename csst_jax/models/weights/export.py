"""The other direction: a network's weights under the names of a source, in a file that PyTorch loads.

The import rules are the one description of the names. They are turned round here, and what they make is imported again
and compared before anybody sees it.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from csst_jax.models.weights import rules
from csst_jax.runtime.storage import replacing
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

_Entry = tuple[str, np.ndarray]

SUFFIXES = (".pth", ".safetensors")
_LEAVES = {"mean": "running_mean", "var": "running_var", "scale": "weight"}
_STORAGES = {"float32": "FloatStorage", "int64": "LongStorage"}


def names(source: rules.Source, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A source's state dict from a network's arrays by our names.

    It has PyTorch's counters of training steps as well, at 0, where the source's checkpoints have them.

    Raises:
      CsstError: an array that no rule makes, or more than one; a rule that cannot be turned round.
    """
    backward = [(_backward(pattern, replacement), _INVERSES[kind]) for pattern, replacement, kind in source.rules]
    entries: dict[str, np.ndarray] = {}
    for name, value in arrays.items():
        found: dict[str, np.ndarray] = {}
        for rename, inverse in backward:
            entry, theirs = inverse(name, value)
            if (renamed := rename(entry)) is not None:
                found[renamed] = theirs
        if len(found) != 1:
            which = f"{len(found)} rules ({', '.join(found)})" if found else "no rule"
            raise CsstError(f"{which} of source {source.name!r} for {name} {value.shape}: it cannot be exported.")
        entries |= found
        (entry,) = found
        if entry.endswith(".running_var") and rules.BATCH_COUNTER in source.drop:
            entries[f"{entry.removesuffix('running_var')}num_batches_tracked"] = np.zeros((), np.int64)
    back = rules.apply(source, entries, {name: value.shape for name, value in arrays.items()})
    wrong = sorted(name for name, value in arrays.items() if back[name].tobytes() != value.tobytes())
    if wrong:
        raise CsstError(f"source {source.name!r} reads other values than were exported: {', '.join(wrong)}.")
    return entries


def _torch(name: str, value: np.ndarray) -> _Entry:
    parent, _, leaf = name.rpartition(".")
    if leaf == "kernel" and value.ndim == 4:
        return f"{parent}.weight", np.transpose(value, (3, 2, 0, 1))
    return (f"{parent}.{_LEAVES[leaf]}" if leaf in _LEAVES else name), value


def _linear_as_conv(name: str, value: np.ndarray) -> _Entry:
    return name, np.transpose(value[0, 0]) if value.shape[:2] == (1, 1) else value


def _with_keys(name: str, value: np.ndarray) -> _Entry:
    """Biases of queries and values with zeros for those of keys between them."""
    if value.ndim != 1:
        return name, value
    half = len(value) // 2
    return name, np.concatenate([value[:half], np.zeros_like(value[:half]), value[half:]])


def _transpose(*axes: int) -> Callable[[str, np.ndarray], _Entry]:
    return lambda name, value: (name, np.transpose(value, axes) if value.ndim == len(axes) else value)


# Of `rules.TRANSFORMS`: an array that no transform of a kind can have made stays as it is, and its rule does not match.
_INVERSES: dict[str, Callable[[str, np.ndarray], _Entry]] = {
    "torch": _torch,
    "identity": lambda name, value: (name, value),
    "conv": _transpose(3, 2, 0, 1),
    "transposed_conv": _transpose(2, 3, 0, 1),
    "conv1d": lambda name, value: (name, np.transpose(value[0], (2, 1, 0)) if value.ndim == 4 else value),
    "linear": _transpose(1, 0),
    "linear_as_conv": _linear_as_conv,
    "query_and_value": _with_keys,
}


def _backward(pattern: str, replacement: str) -> Callable[[str], str | None]:
    """From a name that a rule writes to the one that it reads; None for a name that it does not write.

    Raises:
      CsstError: what the rule reads is more than its groups, or what it writes does not tell all of them.
    """
    template = _template(pattern)
    groups = [content for is_group, content in template if is_group]
    parts = re.split(r"\\(\d)|\\g<(\d+)>", replacement)
    literals, numbers = parts[::3], [int(a or b) for a, b in zip(parts[1::3], parts[2::3], strict=True)]
    if sorted(numbers) != list(range(1, len(groups) + 1)):
        raise CsstError(f"rule {pattern!r} -> {replacement!r} cannot be turned round: it must write each group once.")
    written = re.escape(literals[0])
    for number, literal in zip(numbers, literals[1:], strict=True):
        written += f"({groups[number - 1]}){re.escape(literal)}"
    ours = re.compile(written)

    def rename(name: str) -> str | None:
        match = ours.fullmatch(name)
        if match is None:
            return None
        values = iter(match[numbers.index(number) + 1] for number in range(1, len(groups) + 1))
        return "".join(next(values) if is_group else content for is_group, content in template)

    return rename


def _template(pattern: str) -> list[tuple[bool, str]]:
    """A rule's pattern as a row of (is a group, its pattern or the literal text)."""
    parts: list[tuple[bool, str]] = []
    # A group without capturing ones inside, an escaped sign, or a plain one.
    piece = re.compile(r"\((?!\?)((?:[^()\\]|\\.|\(\?:(?:[^()\\]|\\.)*\))*)\)|\\([^\w])|([\w-])")
    at = 0
    while at < len(pattern):
        match = piece.match(pattern, at)
        if match is None:
            raise CsstError(f"rule {pattern!r} cannot be turned round: {pattern[at:]!r} is neither a group nor plain.")
        group, escaped, plain = match.groups()
        parts.append((False, escaped or plain) if group is None else (True, group))
        at = match.end()
    return parts


def write(path: str | os.PathLike[str], entries: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Writes a state dict, atomically.

    Args:
      path: ends in ".pth" for what `torch.save({"state_dict": entries, "meta": meta})` writes, or in ".safetensors" for
        the entries alone.
      entries: float32 or int64 arrays by name.
      meta: what JSON can hold.

    Raises:
      CsstError: another suffix.
    """
    text = str(path)
    if not text.endswith(SUFFIXES):
        raise CsstError(f"{text}: the file to write must end in {' or '.join(SUFFIXES)}.")
    with replacing(path) as temporary:
        if text.endswith(".pth"):
            _write_torch(temporary, entries, meta)
        else:
            contiguous = {name: value.copy(order="C") for name, value in entries.items()}
            safetensors.numpy.save_file(contiguous, temporary, {"format": "pt"})


def _write_torch(path: os.PathLike[str], entries: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """PyTorch's zip archive: a pickle of the structure, and a file with the numbers of each tensor."""
    with zipfile.ZipFile(path, "w") as archive:  # not compressed, as PyTorch's own

        def add(name: str, content: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)  # without a date: equal weights, equal files

        add("data.pkl", _pickled(entries, meta))
        add("byteorder", b"little")
        for number, value in enumerate(entries.values()):
            add(f"data/{number}", value.astype(value.dtype.newbyteorder("<")).tobytes())
        add("version", b"3\n")


def _pickled(entries: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> bytes:
    """Written by hand: `pickle` would import torch to name what is in it."""
    ordered = b"ccollections\nOrderedDict\n)R"  # a global, called without arguments
    tensors = b"".join(
        _plain(name) + _tensor(str(number), value, ordered) for number, (name, value) in enumerate(entries.items())
    )
    state_dict = ordered + b"(" + tensors + b"u"  # "(" begins a row; "u" sets its pairs as items
    return b"\x80\x02}(" + _plain("state_dict") + state_dict + _plain("meta") + _plain(dict(meta)) + b"u."


def _tensor(key: str, value: np.ndarray, hooks: bytes) -> bytes:
    """torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)."""
    kind = _STORAGES[value.dtype.name].encode()
    strides = tuple(int(np.prod(value.shape[axis + 1 :], dtype=int)) for axis in range(value.ndim))
    storage = b"(" + _plain("storage") + b"ctorch\n" + kind + b"\n" + _plain(key) + _plain("cpu")
    storage += _plain(value.size) + b"tQ"  # a tuple, by which PyTorch finds the numbers
    arguments = storage + _plain(0) + _plain(tuple(map(int, value.shape))) + _plain(strides) + b"\x89" + hooks
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def _plain(value: Any) -> bytes:
    """A value's pickle without beginning and end, to stand inside another."""
    return pickle.dumps(value, protocol=2)[2:-1]
