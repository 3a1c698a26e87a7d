"""The centroid index: class, centroid and area of every connected component of every label map (paper §3.2).

Centroid sampling draws crops around these points. The index is made once, in the pass that writes the labels, and is
kept as TFRecords: a header `tf.train.Example` (format version; numbers of images, components and classes; hash of the
labels; hash of what follows), then Examples of up to 1,024 images with their ids, their numbers of
components, and each column as the bytes of a little-endian array: two million components are read in a second, where
lists of numbers would take a minute. The hash of the labels ties an index to them; reading one that was made from
others is an error.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from csst_jax.data.disk_errors import as_os_error
from csst_jax.data.stored import index_records
from csst_jax.data.stored.components import components
from csst_jax.data.stored.index_records import Damaged
from csst_jax.runtime.storage import as_path, local_file, replacing
from csst_jax.types import CsstError

FORMAT_VERSION = 3


class StaleIndexError(CsstError):
    """The centroid index is missing, or was made from other labels than those it is used with."""


@dataclasses.dataclass(frozen=True, eq=False)
class CentroidIndex:
    """All connected components of a list of label maps, ordered by image, then by component.

    Attributes:
      ids: one id an image, in record order; images without any component are here too.
      num_classes: number of classes C.
      labels_sha256: hash of the encoded label maps, see `labels_sha256`.
      record: int32[n], the record number of each component's image in its source.
      klass: int32[n], class in [0, C).
      y: float32[n], row of the centroid in pixels: the arithmetic mean of the component's pixel indices.
      x: float32[n], column of the centroid in pixels.
      area: int32[n], pixels of the component.
    """

    ids: tuple[str, ...]
    num_classes: int
    labels_sha256: str
    record: np.ndarray
    klass: np.ndarray
    y: np.ndarray
    x: np.ndarray
    area: np.ndarray

    def __len__(self) -> int:
        """Number of components."""
        return len(self.record)


def label_digest(image_id: str, label_bytes: bytes) -> bytes:
    """SHA-256 of an id and an encoded label; their lengths are hashed too, so that they cannot run into each other."""
    total = hashlib.sha256()
    for part in (image_id.encode(), label_bytes):
        total.update(len(part).to_bytes(8, "little"))
        total.update(part)
    return total.digest()


def combine(digests: Iterable[bytes]) -> str:
    """The hash of labels from each one's digest, which can be found anywhere, in any order."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


def labels_sha256(labels: Iterable[tuple[str, bytes]]) -> str:
    """Hash (hexadecimal SHA-256) of (id, encoded label map) pairs in record order."""
    return combine(label_digest(image_id, label_bytes) for image_id, label_bytes in labels)


Found = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""What `components` returns."""


def find(image_id: str, label: np.ndarray, num_classes: int) -> Found:
    """`components` of an image; its errors name the image.

    Raises:
      CsstError: a label value is neither a class nor 255; names the id, the value and the count.
    """
    try:
        return components(label, num_classes)
    except CsstError as error:
        raise CsstError(f"{image_id}: {error}") from error


class IndexBuilder:
    """Builds a `CentroidIndex` in one pass over the labels.

    Attributes:
      digests: `label_digest` of each label so far.
    """

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._ids: list[str] = []
        self.digests: list[bytes] = []
        self._columns: list[tuple[np.ndarray, ...]] = []

    def add(self, record: int, image_id: str, label: np.ndarray, label_bytes: bytes) -> None:
        """Adds the next image.

        Args:
          record: number of the image in its source: 0, 1, 2, … from call to call.
          image_id: the image's id.
          label: uint8[h, w] class indices, 255 = void.
          label_bytes: the encoded form of `label` as it is stored; it enters the hash.

        Raises:
          CsstError: a label value is neither a class nor 255; names the id, the value and the count.
          ValueError: the records are out of order, or `label` is not uint8[h, w].
        """
        self.add_found(record, image_id, find(image_id, label, self._num_classes), label_bytes)

    def add_found(self, record: int, image_id: str, found: Found, label_bytes: bytes) -> None:
        """Adds the next image, whose components are found already (in another process, say); see `add`."""
        if record != len(self._ids):
            raise ValueError(f"record {record} ({image_id}) was added where record {len(self._ids)} was due.")
        self._ids.append(image_id)
        self.digests.append(label_digest(image_id, label_bytes))
        self._columns.append((np.full(len(found[0]), record, np.int32), *found))

    def finish(self) -> CentroidIndex:
        """The index of everything added so far."""
        return _assemble(tuple(self._ids), self._num_classes, combine(self.digests), self._columns)


def empty(ids: Sequence[str], num_classes: int) -> CentroidIndex:
    """The index of images whose labels are left aside."""
    return _assemble(tuple(ids), num_classes, "", [])


def concatenate(indices: Sequence[CentroidIndex], ids: Sequence[str], sha256: str) -> CentroidIndex:
    """One index of several, each of whose records counts from 0.

    Args:
      indices: of consecutive images, of the same classes.
      ids: of all images.
      sha256: hash of all their labels.
    """
    starts = np.cumsum([0, *(len(index.ids) for index in indices)])
    columns = [
        ((index.record + start).astype(np.int32), index.klass, index.y, index.x, index.area)
        for index, start in zip(indices, starts, strict=False)
    ]
    return _assemble(tuple(ids), indices[0].num_classes, sha256, columns)


def _assemble(
    ids: tuple[str, ...], num_classes: int, sha256: str, columns: Sequence[tuple[np.ndarray, ...]]
) -> CentroidIndex:
    empty = [np.zeros(0, np.int32), *(np.zeros(0, dtype) for dtype in (np.int32, np.float32, np.float32, np.int32))]
    whole = [np.concatenate(parts) for parts in zip(empty, *columns, strict=True)]
    return CentroidIndex(ids, num_classes, sha256, *whole)


def write(path: str | os.PathLike[str], index: CentroidIndex) -> None:
    """Writes `index` to `path` atomically: a reader sees the old file or the whole new one.

    Raises:
      OSError: the file system refused; the old file is still there.
    """
    from csst_jax.data.tensorflow_import import tf  # takes seconds to import, and only the file needs it

    columns = {name: getattr(index, name) for name in index_records.COLUMNS}
    records = list(index_records.pack(tf.train.Example, index.ids, index.record, columns))
    header: dict[str, int | str] = {
        "format_version": FORMAT_VERSION,
        "num_images": len(index.ids),
        "num_components": len(index),
        "num_classes": index.num_classes,
        "labels_sha256": index.labels_sha256,
        "records_sha256": index_records.sha256(records),
    }
    try:
        with replacing(path) as made, tf.io.TFRecordWriter(os.fspath(made)) as writer:
            writer.write(index_records.serialize(tf.train.Example, header))
            for record in records:
                writer.write(record)
    except tf.errors.OpError as error:
        refused = as_os_error(error.message, path)
        raise refused or OSError(f"cannot write {path}: {error.message}") from error


def read(
    path: str | os.PathLike[str], expected_sha256: str | None = None, rebuild_command: str | None = None
) -> CentroidIndex:
    """Reads an index and checks that it was made from the expected labels.

    Args:
      path: the TFRecord file.
      expected_sha256: hash of the labels the index will be used with (`labels_sha256`); None skips the check.
      rebuild_command: what the error tells the user to run; by default the command for a prepared data set.

    Raises:
      StaleIndexError: the file is missing, or was made from other labels; names both hashes and the fix.
      CsstError: the file is damaged, or of another format version.
    """
    # TFDS's copy of the message: TensorFlow takes seconds to import, and more memory than the index.
    from tensorflow_datasets.proto.tf_example_generated_pb2 import Example

    path = as_path(path)
    fix = f"Rebuild it: {rebuild_command or f'python -m csst_jax reindex --data_dir={path.parent}'}"
    if not path.is_file():
        raise StaleIndexError(f"{path}: no centroid index for the labels with hash {expected_sha256}. {fix}")
    try:
        local = local_file(path)
        with open(local, "rb") as file:
            records = index_records.framed(file, local.stat().st_size)
            header = _read_header(path, Example.FromString(next(records)).features.feature, expected_sha256, fix)
            sizes = header["num_images"], header["num_components"]
            ids, record, columns = index_records.unpack(Example, records, *sizes, header["records_sha256"])
    except (Damaged, DecodeError) as error:
        raise CsstError(f"{path}: the centroid index is damaged ({error}). {fix}") from error
    return CentroidIndex(ids, header["num_classes"], header["labels_sha256"], record, **columns)


def _read_header(
    path: pathlib.Path, features: Mapping[str, Any], expected_sha256: str | None, fix: str
) -> dict[str, Any]:
    """The header record as a dict; raises as `read` does."""
    version = list(features["format_version"].int64_list.value) if "format_version" in features else None
    if version != [FORMAT_VERSION]:
        raise CsstError(f"{path}: centroid index of format {version}, expected [{FORMAT_VERSION}]. {fix}")
    numbers = {name: features[name].int64_list.value for name in ("num_images", "num_components", "num_classes")}
    hashes = {name: index_records.only_bytes(features, name).decode() for name in ("labels_sha256", "records_sha256")}
    if any(len(value) != 1 for value in numbers.values()):
        raise Damaged("its header lacks a number")
    found = hashes["labels_sha256"]
    if expected_sha256 is not None and found != expected_sha256:
        raise StaleIndexError(
            f"{path}: the centroid index is stale: it was made from labels with hash {found}, "
            f"but the labels have hash {expected_sha256}. {fix}"
        )
    return {name: value[0] for name, value in numbers.items()} | hashes
