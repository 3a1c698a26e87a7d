"""Parts of a data set in preparation: each a file of records with notes beside it, whole or not there.

Any process, on any machine that sees the files, can make any part; an interrupted preparation goes on with those that
are missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from array_record.python import array_record_module

from csst_jax.data.disk_errors import as_os_error
from csst_jax.data.stored import centroid_index, index_records
from csst_jax.data.stored.centroid_index import CentroidIndex
from csst_jax.types import CsstError
from data_prep.raw import Bad, RawExample
from data_prep.stored import store_form

IMAGES_A_PART = 64
"""What an interrupted process does again at most. A part of Cityscapes has 150 MB."""


@dataclasses.dataclass(frozen=True)
class Part:
    """Consecutive images of a split.

    Attributes:
      records: the file of its records, named as TFDS names a shard.
      notes: the file of its ids, digests and components; being there, it says that the part is whole.
      items: what its examples are made from.
      sha256: fingerprint of what it is made from.
    """

    records: pathlib.Path
    notes: pathlib.Path
    items: tuple[Any, ...]
    sha256: str


@dataclasses.dataclass(frozen=True)
class Notes:
    """What is known of a whole part.

    Attributes:
      labelled: bool[n], which images came with a mask.
      digests: `centroid_index.label_digest` of each label.
      image_digests: `StoredExample.image_digest` of each image.
      turned: how many images were turned, as their EXIF tags say.
      like_mask: `StoredExample.like_mask` of each image.
      index: components; records count from the part's first image.
      num_bytes: size of the file of records.
    """

    labelled: np.ndarray
    digests: list[bytes]
    image_digests: list[str]
    turned: int
    like_mask: list[str]
    index: CentroidIndex
    num_bytes: int


def divide(
    splits: Mapping[str, Sequence[Any]],
    records_dir: pathlib.Path,
    notes_dir: pathlib.Path,
    name: str,
    sha256: Callable[[str, Sequence[Any]], str],
) -> dict[str, list[Part]]:
    """The parts of each split.

    Args:
      splits: the items of each split, in order of their ids.
      records_dir: where the data set is made.
      notes_dir: where notes go.
      name: of the data set.
      sha256: fingerprint of some items of a split, and of whatever else counts.
    """
    parts: dict[str, list[Part]] = {}
    for split, items in splits.items():
        count = -(-len(items) // IMAGES_A_PART)
        parts[split] = []
        for number in range(count):
            file = f"{name}-{split}.array_record-{number:05d}-of-{count:05d}"
            own = tuple(items[number * IMAGES_A_PART : (number + 1) * IMAGES_A_PART])
            parts[split].append(Part(records_dir / file, notes_dir / f"{file}.npz", own, sha256(split, own)))
    return parts


def is_whole(part: Part) -> bool:
    """Whether the part is there, made from the same items."""
    if not part.notes.is_file() or not part.records.is_file():
        return False
    try:
        with np.load(part.notes) as arrays:
            known = {"image_digests", "turned", "like_mask"} <= set(arrays.files)
            return str(arrays["sha256"]) == part.sha256 and known
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):  # the machine went down while it was written
        return False


def write(part: Part, make: Callable[[Any], RawExample], num_classes: int, storage: str) -> list[str]:
    """Makes a part, if nothing is wrong with any of its items.

    Args:
      part: which.
      make: an item's example; raises `Bad`.
      num_classes: classes C.
      storage: see `stored.STORAGES`.

    Returns:
      What is wrong, a message an item.

    Raises:
      OSError: the disk refused.
    """
    from tensorflow_datasets.proto.tf_example_generated_pb2 import Example  # takes half a second to import

    part.notes.unlink(missing_ok=True)
    unfinished = part.records.with_name(f".{part.records.name}.{os.getpid()}.tmp")
    builder = centroid_index.IndexBuilder(num_classes)
    wrong: list[str] = []
    labelled: list[bool] = []
    image_digests: list[str] = []
    like_mask: list[str] = []
    turned = 0
    # One record a group: images are read one at a time, at random.
    writer = array_record_module.ArrayRecordWriter(os.fspath(unfinished), "group_size:1")
    try:
        for item in part.items:
            try:
                stored = store_form(make(item), num_classes, storage)
            except (Bad, CsstError) as bad:
                wrong.append(str(bad))
                continue
            builder.add_found(len(labelled), stored.id, stored.components, stored.label)
            labelled.append(stored.labelled)
            image_digests.append(stored.image_digest)
            turned += stored.turned
            like_mask.append(stored.like_mask)
            with _refusals_as_os_errors(part.records):
                writer.write(
                    index_records.serialize(Example, {"id": stored.id, "image": stored.image, "label": stored.label})
                )
        with _refusals_as_os_errors(part.records):
            writer.close()
        if not wrong:
            os.replace(unfinished, part.records)
            _write_notes(part, builder, labelled, image_digests, turned, like_mask)
    finally:
        unfinished.unlink(missing_ok=True)
    return wrong


@contextlib.contextmanager
def _refusals_as_os_errors(path: pathlib.Path) -> Iterator[None]:
    """Raises OSError for what array_record raises as RuntimeError when the disk refuses, such as when it is full."""
    try:
        yield
    except RuntimeError as error:
        refused = as_os_error(str(error), path)
        if refused is None:
            raise
        raise refused from error


def _write_notes(
    part: Part,
    builder: centroid_index.IndexBuilder,
    labelled: Sequence[bool],
    image_digests: Sequence[str],
    turned: int,
    like_mask: Sequence[str],
) -> None:
    index = builder.finish()
    unfinished = part.notes.with_name(f".{part.notes.name}.{os.getpid()}.tmp")
    with open(unfinished, "wb") as file:
        np.savez(
            file,
            sha256=np.array(part.sha256),
            ids=np.array(index.ids),
            labelled=np.array(labelled, bool),
            digests=np.frombuffer(b"".join(builder.digests), np.uint8).reshape(len(labelled), -1),
            image_digests=np.array(image_digests, str),
            turned=np.array(turned),
            like_mask=np.array(like_mask, str),
            num_classes=np.array(index.num_classes),
            record=index.record,
            klass=index.klass,
            y=index.y,
            x=index.x,
            area=index.area,
        )
    os.replace(unfinished, part.notes)


def read_notes(part: Part) -> Notes:
    """The notes of a whole part."""
    with np.load(part.notes) as arrays:
        digests = [digest.tobytes() for digest in arrays["digests"]]
        index = CentroidIndex(
            tuple(arrays["ids"].tolist()),
            int(arrays["num_classes"]),
            centroid_index.combine(digests),
            *(arrays[name] for name in ("record", "klass", "y", "x", "area")),
        )
        image_digests, turned = arrays["image_digests"].tolist(), int(arrays["turned"])
        like_mask, num_bytes = arrays["like_mask"].tolist(), part.records.stat().st_size
        return Notes(arrays["labelled"], digests, image_digests, turned, like_mask, index, num_bytes)
