"""Several prepared data sets as one training set: real Cityscapes beside other streets' images, say (paper §4.3.1)."""

from __future__ import annotations

import collections
import hashlib
import re
from typing import TYPE_CHECKING

import numpy as np

from csst_jax.data.selection import Selection, images_alone, select
from csst_jax.data.store import DataSet, Reader
from csst_jax.data.stored import centroid_index
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.data.stored.centroid_index import CentroidIndex


# A split's name has no slash, so that the colon of gs://… ends no directory.
_ENTRY = re.compile(r"(.+?):([^:/]+)(?::([1-9][0-9]*))?")


def directories(text: str) -> list[str]:
    """Those that a list `DIR:SPLIT,DIR:SPLIT:COUNT` names; entries of another form are left to who opens them."""
    return [named[1] for entry in _entries(text) if (named := _ENTRY.fullmatch(entry))]


def labelled_splits(text: str, key: str) -> list[Selection]:
    """What a list `DIR:SPLIT,DIR:SPLIT` names, each split divided by which images came with a mask.

    Raises:
      CsstError: an entry is not of this form, names `key`; or nothing prepared is there.
    """
    found = []
    for entry in _entries(text):
        named = _ENTRY.fullmatch(entry)
        if named is None or named[3]:
            raise CsstError(f"{key}={text}: {entry!r} is not DIR:SPLIT, like data/cityscapes:train.")
        found.append(select(DataSet.open(named[1]), named[2], ""))
    return found


def pools(text: str, key: str) -> list[Selection]:
    """The unlabelled images that a list `DIR:SPLIT,DIR:SPLIT:COUNT` names.

    Raises:
      CsstError: an entry is not of this form, names `key`; a split has too few images; or nothing prepared is there.
    """
    found = []
    for entry in _entries(text):
        named = _ENTRY.fullmatch(entry)
        if named is None:
            raise CsstError(
                f"{key}={text}: {entry!r} is not DIR:SPLIT or DIR:SPLIT:COUNT, like data/cityscapes:train_extra:3000."
            )
        dataset, split = DataSet.open(named[1]), named[2]
        have = len(dataset.ids(split))
        count = int(named[3] or have)
        if count > have:
            raise CsstError(
                f"{key}={text}: {entry!r} asks for {count} images, and there are {have}. Give at most {have}."
            )
        found.append(images_alone(dataset, split, count))
    return found


def _entries(text: str) -> list[str]:
    return [entry for entry in map(str.strip, text.split(",")) if entry]


def join(parts: Sequence[Selection]) -> Selection:
    """The images of all parts, one part after the other, as one selection.

    Ids of the first part stay; others' begin with the name of their data set and their split. Data sets of one name are
    numbered. The validation split, the classes and everything else are those of the first part's data set.

    Raises:
      CsstError: a part with labels has other classes than the first, a split comes twice, or two images get one id.
    """
    first = parts[0].dataset
    seen = set()
    for part in parts:
        place = (part.dataset.directory.resolve(), part.split)
        if place in seen:
            raise CsstError(f"{part.dataset.directory}: split {part.split!r} is joined twice; name it once.")
        seen.add(place)
        if part.labelled and part.dataset.description.classes != first.description.classes:
            raise CsstError(
                f"{part.dataset.directory} has other classes than {first.directory}; its images can join in "
                "data.more_unlabelled, its labels cannot."
            )
    starts = np.cumsum([0, *(len(part.dataset.ids(part.split)) for part in parts)])[:-1].tolist()

    def moved(kind: str) -> tuple[int, ...]:
        return tuple(start + r for start, part in zip(starts, parts, strict=True) for r in getattr(part, kind))

    return Selection(JoinedDataSet(parts), parts[0].split, moved("labelled"), moved("unlabelled"))


def _prefixes(parts: Sequence[Selection]) -> list[str]:
    """What the ids of each part begin with: nothing, then a name and a split, each pair once."""
    found = [""]
    for part in parts[1:]:
        name, number = part.dataset.description.name, 1
        while (prefix := f"{name}{f'-{number}' if number > 1 else ''}/{part.split}/") in found:
            number += 1
        found.append(prefix)
    return found


class JoinedDataSet(DataSet):
    """The first part's data set, with more images behind those of one split; other splits are its own."""

    def __init__(self, parts: Sequence[Selection]) -> None:
        """Takes parts that `join` has checked."""
        first = parts[0].dataset
        own = {
            split: {
                "ids": first.ids(split),
                "labelled_ids": first.labelled_ids(split),
                "image_digests": first.image_digests(split),
            }
            for split in first.splits
        }
        ids, labelled_ids = [], []
        digests: list[str] = []
        for prefix, part in zip(_prefixes(parts), parts, strict=True):
            names = part.dataset.ids(part.split)
            ids += [prefix + name for name in names]
            labelled_ids += [prefix + names[record] for record in part.labelled]
            digests += part.dataset.image_digests(part.split)
        if len(set(ids)) < len(ids):
            twice = collections.Counter(ids).most_common(1)[0][0]
            raise CsstError(
                f"{first.directory}: its split {parts[0].split!r} and the images that join it have the id {twice!r} in "
                "common. Prepare one of the data sets under another --name."
            )
        joined = {"ids": tuple(ids), "labelled_ids": tuple(labelled_ids), "image_digests": tuple(digests)}
        super().__init__(first.directory, first.description, own | {parts[0].split: joined})
        self._parts = parts

    def reader(self, split: str) -> Reader:
        """As `DataSet.reader`."""
        if split != self._parts[0].split:
            return self._parts[0].dataset.reader(split)
        return JoinedReader([part.reader for part in self._parts])

    def centroids(self, split: str) -> CentroidIndex:
        """As `DataSet.centroids`; components of parts that give images alone are left out."""
        first = self._parts[0].dataset
        if split != self._parts[0].split:
            return first.centroids(split)
        num_classes = len(first.description.classes)
        indices = [
            part.dataset.centroids(part.split)
            if part.labelled
            else centroid_index.empty(part.dataset.ids(part.split), num_classes)
            for part in self._parts
        ]
        hashes = hashlib.sha256("\n".join(index.labels_sha256 for index in indices).encode()).hexdigest()
        return centroid_index.concatenate(indices, self.ids(split), hashes)


class JoinedReader(Reader):
    """The records of several readers, one after the other."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        """Takes the readers in order."""
        self._readers = readers
        self._ends = np.cumsum([len(reader) for reader in readers])

    def __len__(self) -> int:
        """Number of records."""
        return int(self._ends[-1])

    def _at(self, record: int) -> tuple[Reader, int]:
        number = int(np.searchsorted(self._ends, record, side="right"))
        return self._readers[number], record - (int(self._ends[number - 1]) if number else 0)

    def image_bytes(self, record: int) -> bytes:
        """As `Reader.image_bytes`."""
        reader, own = self._at(record)
        return reader.image_bytes(own)

    def label_bytes(self, record: int) -> bytes:
        """As `Reader.label_bytes`."""
        reader, own = self._at(record)
        return reader.label_bytes(own)

    def pair_bytes(self, record: int) -> tuple[bytes, bytes]:
        """As `Reader.pair_bytes`."""
        reader, own = self._at(record)
        return reader.pair_bytes(own)

    def describe(self, record: int) -> str:
        """As `Reader.describe`."""
        reader, own = self._at(record)
        return reader.describe(own)
