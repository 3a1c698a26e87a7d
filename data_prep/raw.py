"""Raw image and mask files: reading, checking, and errors that name the file, the value and the mend."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import hashlib
import io
import os
import pathlib
from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from csst_jax.types import IGNORE_LABEL
from data_prep.problems import Problems

_EXIF_ORIENTATION = 0x0112
_PNG_BIT_DEPTH = 24  # offset of the header's byte

Image.preinit()  # Pillow finds its decoders at the first use, and that is not safe in several threads at once


@dataclasses.dataclass(frozen=True)
class RawPair:
    """An image file and its mask file (None for an unlabelled image)."""

    id: str
    image: pathlib.Path
    mask: pathlib.Path | None


@dataclasses.dataclass(frozen=True)
class RawExample:
    """A checked image and its label.

    Attributes:
      id: unique in the split.
      image_bytes: the image file as it is (PNG or JPEG).
      label: uint8[h, w], classes 0..C-1 and 255 for void; all 255 if `labelled` is false.
      labelled: whether the image came with a mask.
    """

    id: str
    image_bytes: bytes
    label: np.ndarray
    labelled: bool


class _Bad(Exception):
    """One problem with one file; becomes a line in `Problems`."""


def check_pairs(split: str, pairs: Sequence[RawPair], problems: Problems) -> list[RawPair]:
    """Checks a split before anything is decoded: not empty, no id twice, every file there.

    Returns:
      The pairs sorted by id, without duplicates.
    """
    if not pairs:
        problems.add(f"split {split!r} is empty: it lists no image.")
    first: dict[str, RawPair] = {}
    for pair in pairs:
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


def read_examples(
    pairs: Iterable[RawPair],
    num_classes: int,
    problems: Problems,
    void: Collection[int] = (IGNORE_LABEL,),
    num_threads: int | None = None,
) -> Iterator[RawExample]:
    """Reads pairs in order, several at a time; a bad pair goes to `problems` and is left out.

    Args:
      pairs: files to read, as `check_pairs` returns them (missing files are left out without another word).
      num_classes: number of classes C; mask values must be 0..C-1, or void.
      problems: collects what is wrong; whoever consumes the examples calls `raise_if_any` afterwards.
      void: mask values stored as 255; 255 itself is always void.
      num_threads: threads that decode; by default one a core.

    Raises:
      CsstError: `problems` is full.
    """
    void = frozenset(void) | {IGNORE_LABEL}
    num_threads = num_threads or os.cpu_count() or 1
    present = (pair for pair in pairs if pair.image.is_file() and (pair.mask is None or pair.mask.is_file()))

    def attempt(pair: RawPair) -> RawExample | _Bad:
        try:
            return _read_pair(pair, num_classes, void)
        except _Bad as bad:
            return bad

    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        waiting: collections.deque[concurrent.futures.Future[RawExample | _Bad]] = collections.deque()
        try:
            for pair in present:
                waiting.append(pool.submit(attempt, pair))
                if len(waiting) > 4 * num_threads:  # bounds memory: raw data may be far larger than it
                    yield from _result(waiting.popleft(), problems)
            while waiting:
                yield from _result(waiting.popleft(), problems)
        finally:
            pool.shutdown(cancel_futures=True)


def _result(future: concurrent.futures.Future[RawExample | _Bad], problems: Problems) -> Iterator[RawExample]:
    outcome = future.result()
    if isinstance(outcome, _Bad):
        problems.add(str(outcome))
    else:
        yield outcome


def _read_pair(pair: RawPair, num_classes: int, void: frozenset[int]) -> RawExample:
    image_bytes = _read_bytes(pair.image)
    width, height = _check_image(pair.image, image_bytes)
    if pair.mask is None:
        return RawExample(pair.id, image_bytes, np.full((height, width), IGNORE_LABEL, np.uint8), labelled=False)
    values = _read_mask(pair.mask)
    if values.shape != (height, width):
        raise _Bad(
            f"{pair.mask}: the mask is {values.shape[1]}x{values.shape[0]} but its image {pair.image} is "
            f"{width}x{height} (width x height); resize the mask with nearest neighbour, or mend the pairing."
        )
    return RawExample(pair.id, image_bytes, _to_label(pair.mask, values, num_classes, void), labelled=True)


def _read_bytes(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _Bad(f"{path}: cannot be read ({error.strerror}); mend the file or its permissions.") from error


def _decode(path: pathlib.Path, data: bytes, kind: str, formats: tuple[str, ...]) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(data), formats=formats)
        picture.load()
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise _Bad(
            f"{path}: unreadable or truncated {kind} ({len(data)} bytes; {error}); expected "
            f"{' or '.join(formats)}. Copy the file again."
        ) from error
    return picture


def _check_image(path: pathlib.Path, data: bytes) -> tuple[int, int]:
    """Decodes an image whole and returns (width, height)."""
    picture = _decode(path, data, "image", ("PNG", "JPEG"))
    if picture.mode not in ("RGB", "L", "P", "RGBA"):
        raise _Bad(f"{path}: image of colour mode {picture.mode}; convert it to 8-bit RGB.")
    if picture.format == "PNG" and data[_PNG_BIT_DEPTH] == 16:
        raise _Bad(f"{path}: image of 16 bits a channel, of which decoders drop half; convert it to 8-bit RGB.")
    _check_upright(path, picture)
    return picture.size


def _check_upright(path: pathlib.Path, picture: Image.Image) -> None:
    orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
    if orientation != 1:
        raise _Bad(
            f"{path}: EXIF orientation {orientation}, which decoders treat differently; turn the pixels and remove the "
            "tag, for instance `mogrify -auto-orient`."
        )


def _read_mask(path: pathlib.Path) -> np.ndarray:
    """Integer [h, w] mask values; a palette mask gives its indices, not its colours."""
    picture = _decode(path, _read_bytes(path), "mask", ("PNG",))
    if picture.mode not in ("L", "P", "1", "I", "I;16", "I;16B"):
        raise _Bad(
            f"{path}: the mask has {len(picture.getbands())} channels (mode {picture.mode}); it must be a "
            "single-channel index mask (grey or palette PNG whose values are class numbers): convert its colours to "
            "class numbers."
        )
    _check_upright(path, picture)
    values = np.asarray(picture)
    return values.astype(np.uint8) if values.dtype == bool else values


def _to_label(path: pathlib.Path, values: np.ndarray, num_classes: int, void: frozenset[int]) -> np.ndarray:
    found, counts = np.unique(values, return_counts=True)
    wrong = [
        f"{value} ({count} pixels)"
        for value, count in zip(found.tolist(), counts.tolist(), strict=True)
        if value not in void and not 0 <= value < num_classes
    ]
    if wrong:
        raise _Bad(
            f"{path}: label value {', '.join(wrong[:5])}{' and more' if len(wrong) > 5 else ''} outside the "
            f"{num_classes} classes 0..{num_classes - 1} and void ({', '.join(map(str, sorted(void)))}); "
            "mend the mask, the list of classes or the void value."
        )
    label = values.astype(np.uint8)
    label[np.isin(values, list(void))] = IGNORE_LABEL
    return label


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
