"""The records of a centroid index's file: `tf.train.Example`s whose columns are the bytes of little-endian arrays."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

COLUMNS = {"klass": np.dtype("<i4"), "y": np.dtype("<f4"), "x": np.dtype("<f4"), "area": np.dtype("<i4")}
_IMAGES_A_RECORD = 1024


class Damaged(Exception):
    """What is wrong with a file."""


def pack(example: Any, ids: Sequence[str], record: np.ndarray, columns: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    """Serialized Examples of all images, in order.

    Args:
      example: the message class.
      ids: one an image.
      record: int32[n], the image of each component, ascending.
      columns: the `COLUMNS`, [n] each.
    """
    bounds = np.searchsorted(record, np.arange(len(ids) + 1))
    for first in range(0, len(ids), _IMAGES_A_RECORD):
        last = min(first + _IMAGES_A_RECORD, len(ids))
        rows = slice(bounds[first], bounds[last])
        arrays = {name: columns[name][rows].astype(kind).tobytes() for name, kind in COLUMNS.items()}
        counts = np.diff(bounds[first : last + 1]).astype("<i4").tobytes()
        yield serialize(example, {"id": tuple(ids[first:last]), "count": counts, **arrays})


def sha256(parts: Iterable[bytes]) -> str:
    """Hash of all parts, one after the other."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()


def serialize(example: Any, features: Mapping[str, int | str | bytes | tuple[str, ...]]) -> bytes:
    """A `tf.train.Example`; strings become bytes."""
    message = example()
    for name, value in features.items():
        feature = message.features.feature[name]
        if isinstance(value, int):
            feature.int64_list.value.append(value)
        elif isinstance(value, tuple):
            feature.bytes_list.value.extend(text.encode() for text in value)
        else:
            feature.bytes_list.value.append(value.encode() if isinstance(value, str) else value)
    # Maps have no order of their own: the same index shall give the same bytes.
    return message.SerializeToString(deterministic=True)


def framed(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The records of a TFRecord file: length (uint64), its checksum (4 bytes), data, their checksum (4 bytes).

    The checksums are left alone: a hash in the header covers the data, and wrong lengths end at a wrong place.

    Raises:
      Damaged: the file is empty or cut off.
    """
    while start := file.read(12):
        length = struct.unpack("<Q", start[:8])[0] if len(start) == 12 else size
        if file.tell() + length + 4 > size:
            raise Damaged(f"it is cut off at {size} bytes")
        yield file.read(length)
        file.seek(4, os.SEEK_CUR)
    if not size:
        raise Damaged("it is empty")


def unpack(
    example: Any, records: Iterable[bytes], num_images: int, num_components: int, records_sha256: str
) -> tuple[tuple[str, ...], np.ndarray, dict[str, np.ndarray]]:
    """What `pack` was given; arrays are filled in place, so that no second copy of them is ever in memory.

    Args:
      example: the message class.
      records: the serialized Examples.
      num_images: how many there must be.
      num_components: how many there must be.
      records_sha256: the hash that the records must have.

    Raises:
      Damaged: the numbers or the hash differ.
      google.protobuf.message.DecodeError: a record is no Example.
    """
    columns = {name: np.empty(num_components, kind.newbyteorder("=")) for name, kind in COLUMNS.items()}
    record_of = np.empty(num_components, np.int32)
    ids: list[str] = []
    done, hashed = 0, hashlib.sha256()
    for serialized in records:
        hashed.update(serialized)
        features = example.FromString(serialized).features.feature
        counts = np.frombuffer(only_bytes(features, "count"), "<i4")
        rows = slice(done, done + int(counts.sum()))
        values = {name: np.frombuffer(only_bytes(features, name), kind) for name, kind in COLUMNS.items()}
        here = [value.decode() for value in features["id"].bytes_list.value]
        if (
            rows.stop > num_components
            or len(here) != len(counts)
            or {len(column) for column in values.values()} != {int(counts.sum())}
        ):
            raise Damaged("its numbers of images and components disagree")
        record_of[rows] = np.repeat(np.arange(len(ids), len(ids) + len(counts), dtype=np.int32), counts)
        for name, column in columns.items():
            column[rows] = values[name]
        ids.extend(here)
        done = rows.stop
    if len(ids) != num_images or done != num_components:
        raise Damaged(f"it ends after {len(ids)} of {num_images} images")
    if hashed.hexdigest() != records_sha256:
        raise Damaged("its contents have another hash than its header says")
    return tuple(ids), record_of, columns


def only_bytes(features: Mapping[str, Any], name: str) -> bytes:
    """The one value of a bytes feature.

    Raises:
      Damaged: there is none, or more than one.
    """
    values: Sequence[bytes] = features[name].bytes_list.value if name in features else ()
    if len(values) != 1:
        raise Damaged(f"a record has {len(values)} values of {name!r}, not 1")
    return values[0]
