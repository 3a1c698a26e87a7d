"""Stores checked examples as a TFDS data set (array_record) with its centroid index, all or nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import tensorflow_datasets as tfds

from csst_jax.data import centroid_index, store
from csst_jax.types import CsstError, DatasetDescription
from data_prep import workers, workspace
from data_prep.problems import Problems
from data_prep.raw import RawExample
from data_prep.stored import STORAGES, StoredExample, store_form

VERSION = "1.0.0"
"""Version of the stored form; raise it when a reader could not tell the forms apart (how an image or label is encoded,
its first bytes tell)."""

_PROGRESS_S = 10.0


# mypy does not follow tensorflow_datasets, so it cannot know the class argument.
class SegmentationBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Any semantic segmentation data set: `id`, and encoded `image` and `label` (`csst_jax.data.encoded`)."""

    VERSION = tfds.core.Version(VERSION)

    def __init__(
        self,
        description: DatasetDescription,
        examples: Mapping[str, Iterable[StoredExample]],
        written: Mapping[str, _Written],
        data_dir: str | os.PathLike[str],
    ) -> None:
        """Makes a builder.

        Args:
          description: names the data set.
          examples: for each split, its examples sorted by id; run through once.
          written: for each split, notes what was stored, in record order.
          data_dir: the TFDS data directory.
        """
        self.name = description.name
        self._examples = examples
        self._written = written
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "id": tfds.features.Text(),
                # Not features.Image: TFDS knows no tiles.
                "image": tfds.features.Tensor(shape=(), dtype=np.object_),
                "label": tfds.features.Tensor(shape=(), dtype=np.object_),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        del dl_manager  # the raw data is on this machine
        return {split: self._generate_examples(split) for split in self._examples}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, str | bytes]]]:
        last = time.monotonic()
        for record, example in enumerate(self._examples[split]):
            if time.monotonic() - last > _PROGRESS_S:
                last = time.monotonic()
                print(f"{self.name}: {split}: {record} images so far", file=sys.stderr, flush=True)
            self._written[split].add(record, example)
            yield record, {"id": example.id, "image": example.image, "label": example.label}


class _Written:
    """What one split stores: ids in record order, and the centroid index, made in the same pass."""

    def __init__(self, num_classes: int) -> None:
        self.ids: list[str] = []
        self.labelled_ids: list[str] = []
        self.index = centroid_index.IndexBuilder(num_classes)

    def add(self, record: int, example: StoredExample) -> None:
        if self.ids and example.id <= self.ids[-1]:
            raise ValueError(f"examples must come sorted by id, each once: {example.id!r} after {self.ids[-1]!r}.")
        self.index.add_found(record, example.id, example.components, example.label)
        self.ids.append(example.id)
        if example.labelled:
            self.labelled_ids.append(example.id)


def version_directory(data_dir: str | os.PathLike[str], name: str) -> pathlib.Path:
    """Where the data set `name` is stored."""
    return pathlib.Path(data_dir) / name / VERSION


def is_finished(
    data_dir: str | os.PathLike[str], description: DatasetDescription, source_sha256: str, overwrite: bool = False
) -> bool:
    """Whether the data set is there already, made from the same source; says so when it is.

    Raises:
      CsstError: it is there, but made from another source, and `overwrite` is false.
    """
    directory = version_directory(data_dir, description.name)
    metadata_file = directory / store.METADATA_FILE
    if not metadata_file.is_file():
        return False
    try:
        found = json.loads(metadata_file.read_text(encoding="utf-8")).get("source_sha256")
    except (ValueError, AttributeError):
        found = "damaged"
    if found == source_sha256:
        print(f"{description.name}: already prepared from the same source in {directory}; nothing to do.")
        return True
    if not overwrite:
        raise CsstError(
            f"{directory} was made from another source (fingerprint {found}, now {source_sha256}). "
            "Give another --data_dir, or --overwrite to replace it."
        )
    return False


def prepare(
    description: DatasetDescription,
    examples: Mapping[str, Iterable[RawExample]],
    data_dir: str | os.PathLike[str],
    *,
    source_sha256: str,
    problems: Problems | None = None,
    overwrite: bool = False,
    storage: str = STORAGES[0],
    num_workers: int = 1,
) -> pathlib.Path:
    """Stores a data set with its centroid index in DATA_DIR/<name>/<version>/, which appears whole or not at all.

    Args:
      description: name, classes and palette.
      examples: for each split, its examples sorted by id; run through once.
      data_dir: the data directory.
      source_sha256: fingerprint of the raw data and settings, `storage` among them; the same one found there means
        nothing is to be done.
      problems: where `examples` notes bad files; any of them and nothing is stored.
      overwrite: replace a finished data set that was made from another source.
      storage: one of `STORAGES`.
      num_workers: processes that encode and find components; what is stored does not depend on it.

    Returns:
      The version directory.

    Raises:
      CsstError: bad raw data, a finished data set from another source, another preparation under way, or the disk
        refused. Nothing is left behind then, and what was there before stays.
    """
    problems = problems or Problems()
    directory = version_directory(data_dir, description.name)
    if is_finished(data_dir, description, source_sha256, overwrite):
        return directory
    try:
        with workspace.exclusive(directory) as unfinished:
            if is_finished(data_dir, description, source_sha256, overwrite):  # another process was faster
                return directory
            form = functools.partial(store_form, num_classes=len(description.classes), storage=storage)
            forms = {split: workers.ordered_map(form, raw, num_workers) for split, raw in examples.items()}
            _write(description, forms, unfinished, source_sha256, problems)
            workspace.put_in_place(unfinished / description.name / VERSION, directory, unfinished)
    except OSError as error:
        raise CsstError(
            f"cannot store data set {description.name!r} in {directory}: {error}. Nothing was left."
        ) from error
    return directory


def _write(
    description: DatasetDescription,
    examples: Mapping[str, Iterable[StoredExample]],
    unfinished: pathlib.Path,
    source_sha256: str,
    problems: Problems,
) -> None:
    """Writes everything into UNFINISHED/<name>/<version>/."""
    start = time.monotonic()
    written = {split: _Written(len(description.classes)) for split in examples}
    builder = SegmentationBuilder(description, examples, written, unfinished)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS speaks of downloads
            builder.download_and_prepare()
    except CsstError:
        raise
    except Exception:
        problems.raise_if_any()  # a split of nothing but bad files fails inside TFDS, with another message
        raise
    problems.raise_if_any()
    directory = unfinished / description.name / VERSION
    splits = {}
    for split, content in written.items():
        index = content.index.finish()
        centroid_index.write(store.index_path(directory, split), index)
        splits[split] = {
            "ids": content.ids,
            "labelled_ids": content.labelled_ids,
            "labels_sha256": index.labels_sha256,
        }
        without = sorted(set(range(index.num_classes)) - set(index.klass.tolist()))
        print(
            f"{description.name}: {split}: {len(content.ids)} images, {len(content.labelled_ids)} labelled, "
            f"{len(index)} components"
        )
        if without:
            names = ", ".join(description.classes[klass] for klass in without)
            print(f"{description.name}: {split}: warning: no pixel of {names}")
    metadata = dataclasses.asdict(description) | {"splits": splits, "source_sha256": source_sha256}
    (directory / store.METADATA_FILE).write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")
    print(f"{description.name}: prepared in {time.monotonic() - start:.1f} s")
