"""Files in two roles: a mask among the images, or the same picture in training and validation."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from csst_jax.data.readiness import listed
from data_prep.problems import Problems
from data_prep.raw import RawPair


def check_contents(splits: Mapping[str, Sequence[RawPair]], problems: Problems) -> None:
    """Compares files of equal sizes: no image may be a mask too, or be in two splits, or be with and without a mask.

    Args:
      splits: the pairs of each split, whose files are there.
      problems: gets one message a kind, with a few of the files.
    """
    uses: dict[pathlib.Path, list[tuple[str, RawPair]]] = collections.defaultdict(list)
    for split, pairs in splits.items():
        for pair in pairs:
            uses[pair.image].append((f"split {split!r} {'with' if pair.mask else 'without'} a mask", pair))
            if pair.mask is not None:
                uses[pair.mask].append(("a mask", pair))
    mixed = [str(path) for path, used in uses.items() if len({role for role, _ in used}) > 1]
    twice: list[str] = []
    for paths in _alike(path for path in uses if str(path) not in mixed):
        roles = {role: path for path in paths for role, _ in uses[path]}
        if len(roles) > 1:
            told = mixed if "a mask" in roles else twice
            told.append(" and ".join(f"{path} ({role})" for role, path in roles.items()))
    if mixed:
        problems.add(
            f"{len(mixed)} files are image and mask at once: {listed(mixed)}. Take the masks out of the images; if "
            "they lie beside them as NAME_mask.png, give --mask_suffix=_mask."
        )
    if twice:
        problems.add(
            f"{len(twice)} images are there in two roles: {listed(twice)}. Scores on an image that is trained on say "
            "nothing; keep one copy of each."
        )


def _alike(paths: Iterable[pathlib.Path]) -> list[list[pathlib.Path]]:
    """The files in groups of the same content; only those whose size another has, too, are read."""
    by_size: dict[int, list[pathlib.Path]] = collections.defaultdict(list)
    for path in paths:
        if path.is_file() and path.stat().st_size:  # who reads empty ones will tell
            by_size[path.stat().st_size].append(path)
    by_content: dict[tuple[int, bytes], list[pathlib.Path]] = collections.defaultdict(list)
    for size, same_size in by_size.items():
        for path in same_size:
            digest = b""
            if len(same_size) > 1:
                with contextlib.suppress(OSError), open(path, "rb") as file:  # who reads it whole will tell
                    digest = hashlib.file_digest(file, "sha256").digest()
            by_content[size, digest].append(path)
    return list(by_content.values())
