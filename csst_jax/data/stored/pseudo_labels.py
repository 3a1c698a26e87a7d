"""Pseudo labels on disk: array_record shards of encoded label maps, read like the real ones.

Soft labels are shards of their own, which hold the hard labels as well: whoever reads these reads one record a crop.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from array_record.python import array_record_module

from csst_jax.data.stored.retried import retried
from csst_jax.runtime.storage import StoragePath, local_file, replacing
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.data.store import Reader


def shards(total: int, size: int) -> list[range]:
    """The images of each shard, by their positions, where there are `size` in all shards but the last."""
    return [range(start, min(start + size, total)) for start in range(0, total, size)]


def shard_path(directory: StoragePath, shard: int, num_shards: int, soft: bool = False) -> StoragePath:
    """Where a shard's label maps lie, or its soft labels."""
    return directory / f"{'soft' if soft else 'labels'}-{shard:05d}-of-{num_shards:05d}.array_record"


def write_shard(path: StoragePath, labels: Sequence[bytes]) -> None:
    """Writes encoded label maps atomically, one record each."""
    with replacing(path) as made:
        # One record a group: label maps are read one at a time, at random.
        writer = array_record_module.ArrayRecordWriter(os.fspath(made), "group_size:1")
        for label in labels:
            writer.write(label)
        writer.close()


class PseudoLabelled:
    """Unlabelled images with their pseudo labels; record i is the i-th unlabelled image. Thread-safe."""

    def __init__(
        self, directory: StoragePath, images: Reader, records: Sequence[int], shard_size: int, soft: bool = False
    ):
        """Opens the shards.

        Args:
          directory: the label stage's directory.
          images: the data set that holds the images.
          records: record in `images` of each unlabelled image.
          shard_size: images a shard.
          soft: whether there are soft labels, for `pair_bytes`.

        Raises:
          CsstError: a shard is missing or holds another number of label maps than it should.
        """
        self._directory, self._images, self._records, self._shard_size = directory, images, records, shard_size
        self.soft = soft
        self._shards = self._opened(soft=False)
        self._soft_shards = self._opened(soft=True) if soft else []

    def _opened(self, soft: bool) -> list[Any]:
        directory, every = self._directory, shards(len(self._records), self._shard_size)
        opened = []
        for shard, images in enumerate(every):
            path = shard_path(directory, shard, len(every), soft)
            if not path.exists():
                raise CsstError(f"{path} is missing; delete {directory} and run the label stage again.")
            try:
                reader = array_record_module.ArrayRecordReader(os.fspath(local_file(path)), "readahead_buffer_size:0")
                found = reader.num_records()
            except (RuntimeError, ValueError) as error:  # which array_record raises for damage
                raise CsstError(
                    f"{path} cannot be read ({error}); delete {directory} and run the label stage again."
                ) from error
            if found != len(images):
                raise CsstError(
                    f"{path} holds {found} label maps, not {len(images)}; delete {directory} and run the "
                    "label stage again."
                )
            opened.append(reader)
        return opened

    def __len__(self) -> int:
        """Number of images."""
        return len(self._records)

    def image_bytes(self, record: int) -> bytes:
        """As in the data set."""
        return self._images.image_bytes(self._records[record])

    def pair_bytes(self, record: int) -> tuple[bytes, bytes]:
        """(image_bytes, label_bytes); with soft labels (image_bytes, soft_bytes)."""
        label = self.soft_bytes(record) if self.soft else self.label_bytes(record)
        return self.image_bytes(record), label

    def label_bytes(self, record: int) -> bytes:
        """Encoded uint8 [h, w]: class indices, 255 = below the confidence threshold."""
        return self._read(self._shards, record, soft=False)

    def soft_bytes(self, record: int) -> bytes:
        """An encoded soft label; see `csst_jax.data.stored.soft_labels`."""
        return self._read(self._soft_shards, record, soft=True)

    def _read(self, shards: Sequence[Any], record: int, soft: bool) -> bytes:
        """One record.

        Raises:
          CsstError: it cannot be read; names file, record and image.
        """
        shard, row = divmod(record, self._shard_size)
        path = shard_path(self._directory, shard, len(shards), soft)
        return retried(
            lambda: shards[shard].read([row])[0],
            lambda: f"{path}, record {row}: {self.describe(record)}",
            f"If the disk is in order, delete {self._directory} and run the label stage again.",
        )

    def describe(self, record: int) -> str:
        """The pseudo label and its image, for messages."""
        return f"pseudo label {record} in {self._directory} of {self._images.describe(self._records[record])}"
