"""Prepared data sets on disk: random access to undecoded images and labels, and their centroid index.

`data_prep` writes a directory `DATA_DIR/<name>/<version>/` with a TFDS data set in array_record files, `dataset.json`
(ids and what the label values mean) and one centroid index a split. Reading needs neither TensorFlow nor a network.
"""

from __future__ import annotations

import bisect
import itertools
import json
import os
import pathlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from etils import epath

from csst_jax.data.stored import centroid_index, object_store
from csst_jax.data.stored.encoded import size
from csst_jax.data.stored.retried import retried
from csst_jax.runtime import storage
from csst_jax.types import CsstError, DatasetDescription
from csst_jax.user_files import user_path

METADATA_FILE = "dataset.json"
AnyPath = TypeVar("AnyPath", pathlib.Path, epath.Path)
_HASHES: dict[
    tuple[Any, ...], str
] = {}  # labels_sha256 by the record files' (path, size, mtime); reading takes a while


def index_path(directory: str | os.PathLike[str], split: str) -> pathlib.Path:
    """Where the centroid index of `split` lies."""
    return pathlib.Path(directory) / f"centroids-{split}.tfrecord"


class Reader:
    """Random access to the records of one split, undecoded; any number of threads may read at once.

    array_record shares one thread-safe reader a file among the threads.
    """

    def __init__(self, records: Any, files: Sequence[tuple[str, int]], ids: Sequence[str]) -> None:
        """Takes the records.

        Args:
          records: TFDS's data source.
          files: path and number of records of each file, in record order.
          ids: of the images, in record order.
        """
        self._records, self._ids = records, ids
        self._files = [path for path, _ in files]
        self._file_ends = list(itertools.accumulate(count for _, count in files))

    def __len__(self) -> int:
        """Number of records."""
        return len(self._records)

    def image_bytes(self, record: int) -> bytes:
        """The encoded image: tiles, or PNG or JPEG as it was in the raw data; see `csst_jax.data.stored.encoded`."""
        return self._example(record)["image"]

    def label_bytes(self, record: int) -> bytes:
        """The encoded label: uint8[h, w], classes 0..C-1, 255 = void; all 255 for an image without a mask."""
        return self._example(record)["label"]

    def pair_bytes(self, record: int) -> tuple[bytes, bytes]:
        """(image_bytes, label_bytes) for the price of one read."""
        example = self._example(record)
        return example["image"], example["label"]

    def describe(self, record: int) -> str:
        """File, record of the split, and image id, for messages."""
        return f"{self._files[bisect.bisect_right(self._file_ends, record)]}, record {record} ({self._ids[record]})"

    def _example(self, record: int) -> Any:
        """One record, for which a network file system gets a few chances.

        Raises:
          CsstError: it cannot be read; names file, record and image.
        """
        fix = "If the disk is in order, prepare the data set again."
        return retried(lambda: self._records[record], lambda: self.describe(record), fix)


class DataSet:
    """One prepared data set. Make it with `DataSet.open`."""

    def __init__(self, directory: pathlib.Path, description: DatasetDescription, splits: Mapping[str, Any]) -> None:
        self.directory = directory
        self.description = description
        self._splits = splits
        self._readers: dict[str, Reader] = {}
        self._builder: Any = None
        self._lock = threading.Lock()

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> DataSet:
        """Opens a prepared data set.

        Args:
          directory: the data set's version directory, or a directory above it (`DATA_DIR/<name>`, `DATA_DIR`) that
            holds exactly one prepared data set. One on object storage (`gs://…`) is copied to the local disk first.

        Raises:
          CsstError: nothing prepared is there, or several data sets are, or `dataset.json` is damaged, or object
            storage cannot be read.
        """
        if not os.fspath(directory).strip():
            raise CsstError("the data set's directory is empty; name what a command of data_prep wrote.")
        if storage.is_remote(directory):
            cache = storage.cache(object_store.CACHE)
            found = object_store.local_copy(storage.remote(directory, "data.dir"), find_prepared, cache)
        else:
            found = find_prepared(user_path(directory))
        try:
            text = (found / METADATA_FILE).read_bytes()
        except OSError as error:
            raise CsstError(
                f"{found / METADATA_FILE}: cannot be read ({error.strerror}). Check its permissions."
            ) from error
        try:
            metadata = json.loads(text.decode("utf-8"))
            description = DatasetDescription(
                metadata["name"],
                tuple(metadata["classes"]),
                tuple(tuple(colour) for colour in metadata["palette"]),
                tuple(metadata["official_ids"]) if "official_ids" in metadata else (),  # older stores have none
                longest_side=metadata.get("longest_side", 0),  # likewise
            )
            splits = {
                name: {
                    "ids": tuple(split["ids"]),
                    "labelled_ids": tuple(split["labelled_ids"]),
                    "image_digests": tuple(split.get("image_digests", ())),  # older stores have none
                }
                for name, split in metadata["splits"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CsstError(
                f"{found / METADATA_FILE}: damaged ({type(error).__name__}: {error}), or not written by data_prep. If "
                f"data_prep wrote {found}, delete it and prepare the data set again."
            ) from error
        outside = next((i for split in splits.values() for i in split["ids"] if leads_outside(i)), None)
        if outside is not None:
            raise CsstError(
                f"{found / METADATA_FILE}: image id {outside!r} leads out of the directory of its predictions. "
                "Do not use this data set, or prepare it again from its raw files."
            )
        return cls(found, description, splits)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self._splits)

    def ids(self, split: str) -> tuple[str, ...]:
        """Ids of all images of `split`, in record order (sorted)."""
        return self._split(split)["ids"]

    def labelled_ids(self, split: str) -> tuple[str, ...]:
        """Ids of the images that came with a mask, in record order."""
        return self._split(split)["labelled_ids"]

    def image_digests(self, split: str) -> tuple[str, ...]:
        """Hash of each image's file, in record order; empty strings where the data set was prepared without."""
        return self._split(split).get("image_digests") or ("",) * len(self.ids(split))

    def image_sizes(self, split: str) -> dict[str, tuple[int, int]]:
        """Height and width of each image of `split` by its id."""
        source = self.reader(split)
        return {image_id: size(source.image_bytes(record)) for record, image_id in enumerate(self.ids(split))}

    def labels_sha256(self, split: str) -> str:
        """Hash of the labels as they are stored now (read and hashed once a process)."""
        source = self.reader(split)
        files = sorted(self.directory.glob(f"*-{split}.array_record-*"))
        key = (split, *((str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files))
        if key not in _HASHES:
            labels = ((image_id, source.label_bytes(record)) for record, image_id in enumerate(self.ids(split)))
            _HASHES[key] = centroid_index.labels_sha256(labels)
        return _HASHES[key]

    def reader(self, split: str) -> Reader:
        """Random access to the records of `split`.

        Raises:
          CsstError: no such split, or the record files are missing or do not match `dataset.json`.
        """
        ids = self.ids(split)
        with self._lock:
            if split not in self._readers:
                self._readers[split] = self._open_source(split, ids)
            return self._readers[split]

    def centroids(self, split: str) -> centroid_index.CentroidIndex:
        """The centroid index of `split`, checked against the labels as they are stored now.

        Raises:
          centroid_index.StaleIndexError: the index is missing or was made from other labels.
        """
        return centroid_index.read(index_path(self.directory, split), expected_sha256=self.labels_sha256(split))

    def _split(self, split: str) -> Mapping[str, tuple[str, ...]]:
        if split not in self._splits:
            raise CsstError(f"{self.directory}: no split {split!r}; there are: {', '.join(self._splits)}.")
        return self._splits[split]

    def _open_source(self, split: str, ids: Sequence[str]) -> Reader:
        import tensorflow_datasets as tfds  # half a second to import; it does not import TensorFlow

        undecoded = {"image": tfds.decode.SkipDecoding(), "label": tfds.decode.SkipDecoding()}
        fix = f"Delete {self.directory} and prepare the data set again."
        try:
            if self._builder is None:
                self._builder = tfds.builder_from_directory(self.directory)
            records = self._builder.as_data_source(split, decoders=undecoded)
            records[0]  # opens a record file now, where a failure can still be explained
        except Exception as error:  # TFDS and array_record raise bare Exception subclasses of many kinds
            raise CsstError(f"{self.directory}: cannot read split {split!r} ({error}). {fix}") from error
        if len(records) != len(ids):
            raise CsstError(
                f"{self.directory}: split {split!r} stores {len(records)} records, "
                f"but {METADATA_FILE} lists {len(ids)} ids. {fix}"
            )
        info = self._builder.info.splits[split]
        files = zip(map(os.fspath, info.filepaths), info.shard_lengths, strict=True)
        return Reader(records, list(files), ids)


def leads_outside(image_id: str) -> bool:
    """Whether a file that is called like an image would lie outside of the directory that it is written to."""
    path = pathlib.PurePosixPath(image_id.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or "\0" in image_id


def find_prepared(directory: AnyPath) -> AnyPath:
    """The one prepared version directory at or up to two levels below `directory`.

    Raises:
      CsstError: there is none, or more than one; names what to do.
    """
    if (directory / METADATA_FILE).is_file():
        return directory
    # A directory whose name starts with a dot is a preparation under way, or one that was killed.
    depths = (f"*/{METADATA_FILE}", f"*/*/{METADATA_FILE}")
    found = sorted(
        file.parent
        for pattern in depths
        for file in directory.glob(pattern)
        if not any(part.startswith(".") for part in file.relative_to(directory).parts)
    )
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(str(path) for path in found)
        raise CsstError(f"{directory} holds {len(found)} prepared data sets; name one of them: {listed}.")
    reason = "does not exist"
    if directory.exists():
        reason = "holds no prepared data set" if directory.is_dir() else "is a file, no directory"
    raise CsstError(
        f"data set directory {directory} {reason}. Name what a command of data_prep wrote (DATA_DIR/NAME), not the "
        "files that it read. Prepare a data set: `python -m csst_jax prepare demo --data_dir=data` (generated, no "
        "download), `python -m csst_jax prepare --images=… --masks=… --classes=… --name=mine --data_dir=data` "
        "(your own images), or a public data set (docs/datasets.md)."
    )
