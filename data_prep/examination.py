"""Looks at every stored image and label: damage, sizes, values, and the same image twice."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image

from csst_jax.data.readiness import Findings, listed
from csst_jax.data.store import DataSet
from csst_jax.data.stored import encoded
from csst_jax.data.stored.components import require_known_values, runs
from csst_jax.types import IGNORE_LABEL, CsstError
from data_prep import near_duplicates, workers

MAX_TOLD = 10
"""Findings of a kind that are told one by one; of the others the number: nobody reads a thousand lines."""


FEW_COLOURS = 32
"""A photo has more."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """A record as it lies in the data set; `labelled` says whether it came with a mask."""

    id: str
    image: bytes
    label: bytes
    labelled: bool


@dataclasses.dataclass(frozen=True)
class Examined:
    """What decoding a record told.

    Attributes:
      id: the image's.
      size: (height, width) in pixels; None where the image is damaged.
      image_sha256: hash of the decoded pixels; None where the image is damaged.
      label_sha256: hash of the decoded label; None where it is damaged or the image came without a mask.
      errors: what is wrong.
      warnings: what is odd.
      look: see `near_duplicates.look`; None where the image is damaged or of nearly one colour.
    """

    id: str
    size: tuple[int, int] | None
    image_sha256: str | None
    label_sha256: str | None
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    look: bytes | None = None


def examine(stored: Stored, num_classes: int) -> Examined:
    """Decodes a record and checks it."""
    image, label, errors, warnings = None, None, [], []
    try:
        image = encoded.decode_rgb(stored.image)
    except CsstError as error:
        errors.append(f"damaged image: {error} Fix the file and prepare the data set again.")
    try:
        label = encoded.decode_label(stored.label)
        _require_label(label, stored.labelled, num_classes)
    except CsstError as error:
        damaged = "damaged label: " if label is None else ""
        errors.append(f"{damaged}{error} Fix the mask and prepare the data set again.")
    if image is not None and label is not None and image.shape[:2] != label.shape[:2]:
        errors.append(
            f"the image is {image.shape[1]}x{image.shape[0]} and its label {label.shape[1]}x{label.shape[0]} pixels "
            "(width x height). Fix the pair and prepare the data set again."
        )
    if image is not None and (image == image[0, 0]).all():
        warnings.append(f"every pixel of the image is {tuple(image[0, 0].tolist())}; is it the right file?")
    elif image is not None and (few := Image.fromarray(image).getcolors(FEW_COLOURS)):
        warnings.append(f"the image has only {len(few)} colours; is it a mask, or a picture of one?")
    return Examined(
        stored.id,
        None if image is None else (image.shape[0], image.shape[1]),
        None if image is None else _sha256(image),
        _sha256(label) if label is not None and stored.labelled else None,
        tuple(errors),
        tuple(warnings),
        None if image is None else near_duplicates.look(image),
    )


def _require_label(label: np.ndarray, labelled: bool, num_classes: int) -> None:
    if label.ndim != 2 or label.dtype != np.uint8:
        raise CsstError(f"the label is {label.dtype}{list(label.shape)} and must be uint8[h, w].")
    _, length, value = runs(label)
    require_known_values(value, length, num_classes)
    if not labelled and (value != IGNORE_LABEL).any():
        raise CsstError("labels in an image that is listed as one without a mask.")


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


def examine_split(data_set: DataSet, split: str, num_workers: int) -> list[Examined]:
    """Every record of a split, in order.

    Raises:
      CsstError: the record files cannot be opened.
    """
    source, labelled = data_set.reader(split), frozenset(data_set.labelled_ids(split))

    def records() -> Iterator[Stored]:
        for record, image_id in enumerate(data_set.ids(split)):
            yield Stored(image_id, *source.pair_bytes(record), image_id in labelled)

    examine_one = functools.partial(examine, num_classes=len(data_set.description.classes))
    return list(workers.ordered_map(examine_one, records(), num_workers))


def findings(examined: Mapping[str, Sequence[Examined]]) -> Findings:
    """What is wrong with the records of each split, and which images are there twice (by their decoded pixels)."""
    found = Findings()
    for split, records in examined.items():
        for kind in ("errors", "warnings"):
            told = [f"{split}/{one.id}: {text}" for one in records for text in getattr(one, kind)]
            more = [f"{split}: {len(told) - MAX_TOLD} more of such {kind}."] if len(told) > MAX_TOLD else []
            getattr(found, kind).extend(told[:MAX_TOLD] + more)
    alike: collections.defaultdict[str, list[tuple[str, Examined]]] = collections.defaultdict(list)
    for split, records in examined.items():
        for one in records:
            if one.image_sha256 is not None:
                alike[one.image_sha256].append((split, one))
    twice = [group for group in alike.values() if len(group) > 1]
    across = [group for group in twice if len({split for split, _ in group}) > 1]
    if across:
        found.errors.append(
            f"{len(across)} images are in more than one split: {_told(across)}; scores on them say nothing about other "
            "images. Keep each in one split and prepare the data set again."
        )
    disputed = [group for group in twice if len({one.label_sha256 for _, one in group} - {None}) > 1]
    if disputed:
        found.warnings.append(
            f"{len(disputed)} images have several masks, which differ: {_told(disputed)}; keep the right one."
        )
    within = [group for group in twice if group not in across and group not in disputed]
    if within:
        found.warnings.append(f"{len(within)} images are there more than once: {_told(within)}; they count as often.")
    found.warnings += near_duplicates.warnings(examined)
    return found


def _told(groups: Sequence[Sequence[tuple[str, Examined]]]) -> str:
    return listed(" = ".join(f"{split}/{one.id}" for split, one in group) for group in groups)
