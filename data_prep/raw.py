"""Raw image and mask files: reading, checking, and errors that name the file, the value and the fix."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import pathlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from csst_jax.data.picture_file import Bad, ImageFile, read_image
from csst_jax.data.shrinking import nearest, shrunk, smaller
from csst_jax.data.store import leads_outside
from csst_jax.types import IGNORE_LABEL, CsstError, DatasetDescription
from csst_jax.user_files import is_utf8, shown, user_path
from data_prep.label_map import LabelMap
from data_prep.mask_file import read_label
from data_prep.problems import Problems

_JPEG_QUALITY = 95
_NO_LETTERS = ("Cc", "Zl", "Zp", "Cs")  # Unicode's categories: control characters, line breaks, halves of characters


@dataclasses.dataclass(frozen=True)
class RawPair:
    """An image file and its mask file (None for an unlabelled image)."""

    id: str
    image: pathlib.Path
    mask: pathlib.Path | None


@dataclasses.dataclass(frozen=True)
class RawDataSet:
    """A data set as it was downloaded: which files belong together, before any is opened.

    Attributes:
      description: name, classes and palette.
      labels: what the masks' values or colours stand for.
      splits: the pairs of each split.
    """

    description: DatasetDescription
    labels: LabelMap
    splits: Mapping[str, Sequence[RawPair]]


@dataclasses.dataclass(frozen=True)
class RawExample:
    """A checked image and its label.

    Attributes:
      id: unique in the split.
      image_bytes: PNG or JPEG, upright: the image file as it is, if it is that.
      label: uint8[h, w], classes 0..C-1 and 255 for void; all 255 if `labelled` is false.
      labelled: whether the image came with a mask.
      turned: whether the file's pixels were turned, as its EXIF tag says.
      like_mask: the image's file if it has the values of masks alone (`LabelMap.is_mask`), as binarised scans have,
        too; empty otherwise.
    """

    id: str
    image_bytes: bytes
    label: np.ndarray
    labelled: bool
    turned: bool = False
    like_mask: str = ""


def directory(given: str | os.PathLike[str], *below: str, flag: str = "--source_dir") -> pathlib.Path:
    """The directory that the user gave, or the first of `below` that is there inside it.

    Args:
      given: what came with `flag`.
      below: relative paths, "" for the directory itself; the layout starts at one of them.
      flag: for messages.

    Raises:
      CsstError: none is there.
    """
    candidates = [user_path(given) / relative for relative in below or ("",)]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    if not user_path(given).exists():
        raise CsstError(f"{flag}={given} does not exist; see docs/datasets.md.")
    wanted = " or ".join(relative or "the files" for relative in below)
    raise CsstError(f"{flag}={given} is not a directory{f' with {wanted}' if below else ''}; see docs/datasets.md.")


def complete_pairs(split: str, pairs: Sequence[RawPair], problems: Problems) -> list[RawPair]:
    """What a split lists, before anything is decoded: an empty split, an id twice and a missing file are problems.

    Returns:
      The pairs sorted by id, without duplicates.
    """
    if not pairs:
        problems.add(f"split {split!r} is empty: it has no image.")
    first: dict[str, RawPair] = {}
    for pair in pairs:
        if not is_utf8(pair.id):
            problems.add(f"{shown(pair.image)}: the file's name is not UTF-8. Rename it, for instance with `convmv`.")
            continue
        if any(unicodedata.category(letter) in _NO_LETTERS for letter in pair.id):
            problems.add(f"{str(pair.image)!r}: the file's name has a line break or the like in it. Rename it.")
            continue
        if leads_outside(pair.id):
            problems.add(
                f"{pair.image}: the file's name is a path that leads out of its directory where `\\` stands between "
                "directories, as in Windows. Rename it."
            )
            continue
        if pair.id in first:
            problems.add(
                f"duplicate id {pair.id!r} in split {split!r}: {first[pair.id].image} and {pair.image}; drop one."
            )
            continue
        first[pair.id] = pair
        if not pair.image.is_file():
            problems.add(f"{pair.image}: missing image (listed in split {split!r}); add the file or drop its line.")
        if pair.mask is not None and not pair.mask.is_file():
            problems.add(f"{pair.mask}: missing mask of image {pair.image}; add the file or drop the image.")
    return sorted(first.values(), key=lambda pair: pair.id)


def read_pair(pair: RawPair, labels: LabelMap, longest_side: int = 0) -> RawExample:
    """Reads and checks a pair.

    Args:
      pair: its files.
      labels: what the mask's values or colours stand for.
      longest_side: see `DatasetDescription`.

    Raises:
      Bad: something is wrong with a file.
    """
    image = read_image(pair.image)
    like_mask = str(pair.image) if labels.is_mask(image.picture) else ""
    width, height = image.picture.size
    data = _smaller(pair.image, image, longest_side)
    size = smaller((height, width), longest_side)
    if pair.mask is None:
        label = np.full(size, IGNORE_LABEL, np.uint8)
        return RawExample(pair.id, data, label, labelled=False, turned=image.turned, like_mask=like_mask)
    label = read_label(pair.mask, labels)
    if label.shape != (height, width):
        turned = " The photo is turned as its EXIF tag says; turn the mask, too." if image.turned else ""
        raise Bad(
            f"{pair.mask}: the mask is {label.shape[1]}x{label.shape[0]} but its image {pair.image} is "
            f"{width}x{height} (width x height); resize the mask with nearest neighbour, or fix the pairing.{turned}"
        )
    if like_mask and labels.shows(image.picture, label):
        raise Bad(
            f"{pair.image}: this image is a mask: it shows the classes of its mask {pair.mask}, pixel by pixel. Give "
            "the photo in place of it."
        )
    label = label if size == label.shape else nearest(label, size)
    return RawExample(pair.id, data, label, labelled=True, turned=image.turned, like_mask=like_mask)


def _smaller(path: pathlib.Path, image: ImageFile, longest_side: int) -> bytes:
    """The file of an image that is not larger; a JPEG stays one."""
    picture = shrunk(image.picture, longest_side)
    if picture.size == image.picture.size:
        return image.data
    stream = io.BytesIO()
    if path.suffix.lower() in (".jpg", ".jpeg"):
        picture.save(stream, "JPEG", quality=_JPEG_QUALITY)
    else:
        picture.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def source_sha256(splits: Iterable[tuple[str, Iterable[RawPair]]], *settings: object) -> str:
    """Fingerprint of raw files (id, size, modification time) and settings; reads no file's contents."""
    total = hashlib.sha256(repr(settings).encode())
    for split, pairs in splits:
        for pair in pairs:
            stamps = [
                (path.name, path.stat().st_size, path.stat().st_mtime_ns) if path and path.is_file() else None
                for path in (pair.image, pair.mask)
            ]
            total.update(repr((split, pair.id, stamps)).encode())
    return total.hexdigest()
