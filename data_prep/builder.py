"""Stores checked examples as a TFDS data set (array_record) with its centroid index; an interrupted run goes on."""

from __future__ import annotations

import dataclasses
import errno
import functools
import itertools
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from csst_jax.data import store
from csst_jax.data.readiness import listed
from csst_jax.data.stored import centroid_index
from csst_jax.runtime.patience import to_stderr, told
from csst_jax.types import CsstError, DatasetDescription
from csst_jax.user_files import is_utf8, shown
from data_prep import distributed, parts, workers, workspace
from data_prep.parts import Part
from data_prep.problems import Problems
from data_prep.raw import RawExample
from data_prep.stored import STORAGES

VERSION = "1.0.0"
"""Version of the stored form; raise it when a reader could not tell the forms apart (how an image or label is encoded,
its first bytes tell)."""


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
    examples: Mapping[str, Iterable[Any]],
    data_dir: str | os.PathLike[str],
    *,
    source_sha256: str,
    make: Callable[[Any], RawExample] | None = None,
    part_sha256: Callable[[str, Sequence[Any]], str] | None = None,
    problems: Problems | None = None,
    overwrite: bool = False,
    storage: str = STORAGES[0],
    num_workers: int = 1,
    beam: distributed.BeamRun | None = None,
) -> pathlib.Path:
    """Stores a data set with its centroid index in DATA_DIR/<name>/<version>/, which appears whole or not at all.

    Parts that an interrupted run finished are taken over if their fingerprint is the same.

    Args:
      description: name, classes and palette.
      examples: for each split what its examples are made from, sorted by id; all of it is held in memory.
      data_dir: the data directory.
      source_sha256: fingerprint of the raw data and settings, `storage` among them; the same one found there means
        nothing is to be done.
      make: a function for other processes that makes an example and raises `raw.Bad`; None where they are examples.
      part_sha256: fingerprint of a split's name, some of its items, and settings; `source_sha256` by default.
      problems: what is wrong so far; if there is anything in the end, nothing is stored.
      overwrite: replace a finished data set that was made from another source.
      storage: one of `STORAGES`.
      num_workers: processes that read, encode and find components; what is stored does not depend on it.
      beam: run on Beam instead of `num_workers` processes.

    Returns:
      The version directory.

    Raises:
      CsstError: bad raw data, a finished data set from another source, another preparation under way, or the disk
        refused. What was there before stays, and parts that are whole wait for the next run.
    """
    problems = problems or Problems()
    if not is_utf8(os.path.abspath(data_dir)):
        raise CsstError(
            f"--data_dir={shown(data_dir)}: its name is not UTF-8, which TFDS needs; give another directory."
        )
    directory = version_directory(data_dir, description.name)
    if is_finished(data_dir, description, source_sha256, overwrite):
        return directory
    start, every = time.monotonic(), list[Part]()
    try:
        with workspace.exclusive(directory) as unfinished:
            if is_finished(data_dir, description, source_sha256, overwrite):  # another process was faster
                return directory
            made, notes = unfinished / "records", unfinished / "notes"
            items = {split: list(members) for split, members in examples.items()}
            fingerprint = part_sha256 or (lambda *_: source_sha256)
            divided = parts.divide(items, made, notes, description.name, fingerprint)
            every = [part for members in divided.values() for part in members]
            workspace.keep_only(made, {part.records.name for part in every})
            workspace.keep_only(notes, {part.notes.name for part in every})
            write = functools.partial(
                parts.write, make=make or _as_it_is, num_classes=len(description.classes), storage=storage
            )
            _write_missing(description.name, divided, write, num_workers, beam, problems)
            problems.raise_if_any()
            with told(f"{description.name}: writing the data set's description", to_stderr):  # imports TensorFlow
                _finish(description, divided, made, source_sha256)
            workspace.put_in_place(made, directory, unfinished)
    except OSError as error:
        kept = sum(parts.is_whole(part) for part in every)
        raise CsstError(_refused(description.name, directory, error, kept)) from error
    print(f"{description.name}: prepared in {time.monotonic() - start:.1f} s")
    return directory


def _refused(name: str, directory: pathlib.Path, error: OSError, kept: int) -> str:
    """What to say when the disk refuses, and what to do; `kept` is how many parts are finished."""
    place = f" ({shown(os.fsdecode(error.filename))})" if isinstance(error.filename, str | bytes) else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        fix = "Free some space and run the same command again"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        fix = "Allow writing there"
    else:
        fix = "Check the disk and run the same command again"
    work = f" {kept} finished part{'s are' if kept > 1 else ' is'} kept for the next run in this one." if kept else ""
    return (
        f"cannot store data set {name!r} in {directory}: {error.strerror or error}{place}. {fix}, or give another "
        f"--data_dir.{work}"
    )


def _as_it_is(example: RawExample) -> RawExample:
    return example


def _write_missing(
    name: str,
    divided: Mapping[str, Sequence[Part]],
    write: Callable[[Part], list[str]],
    num_workers: int,
    beam: distributed.BeamRun | None,
    problems: Problems,
) -> None:
    """Makes the parts that are not whole yet, and says how far it is."""
    every = [part for members in divided.values() for part in members]
    missing = [part for part in every if not parts.is_whole(part)]
    if len(missing) < len(every):
        print(f"{name}: {len(every) - len(missing)} of {len(every)} parts are there from an interrupted run")
    total = sum(len(part.items) for part in every)
    done = total - sum(len(part.items) for part in missing)
    if beam:
        outcomes = distributed.write_all(beam, write, missing)
    else:
        outcomes = workers.ordered_map(write, missing, min(num_workers, max(len(missing), 1)))
    with told(lambda: f"{name}: {done} of {total} images", to_stderr):
        for part, wrong in zip(missing, outcomes, strict=True):
            for message in wrong:
                problems.add(message)
            done += len(part.items)


def _finish(
    description: DatasetDescription, divided: Mapping[str, Sequence[Part]], made: pathlib.Path, source_sha256: str
) -> None:
    """Joins the parts' notes into one index a split, and writes what TFDS and `store` want to know."""
    splits, infos = {}, []
    for split, members in divided.items():
        notes = [parts.read_notes(part) for part in members]
        ids = [image_id for note in notes for image_id in note.index.ids]
        if any(a >= b for a, b in itertools.pairwise(ids)):
            raise ValueError(f"split {split!r}: examples must come sorted by id, each once.")
        sha256 = centroid_index.combine(digest for note in notes for digest in note.digests)
        index = centroid_index.concatenate([note.index for note in notes], ids, sha256)
        centroid_index.write(store.index_path(made, split), index)
        labelled = np.concatenate([note.labelled for note in notes])
        splits[split] = {
            "ids": ids,
            "labelled_ids": [image_id for image_id, has in zip(ids, labelled, strict=True) if has],
            "labels_sha256": sha256,
            "image_digests": [digest for note in notes for digest in note.image_digests],
        }
        infos.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[len(note.labelled) for note in notes],
                num_bytes=sum(note.num_bytes for note in notes),
            )
        )
        print(
            f"{description.name}: {split}: {len(ids)} images, {int(labelled.sum())} labelled, {len(index)} components"
        )
        if turned := sum(note.turned for note in notes):
            print(
                f"{description.name}: {split}: {turned} images are turned, as their EXIF tags say. Their masks must be "
                "drawn on the turned images; look at the contact sheet of data_prep.check."
            )
        _look_for_masks(split, labelled, [path for note in notes for path in note.like_mask])
        without = sorted(set(range(index.num_classes)) - set(index.klass.tolist()))
        if without and labelled.any():
            names = ", ".join(description.classes[klass] for klass in without)
            hint = ". 255 is void; where it is a class, --classes=FILE must say so: `values: [255]`"
            hint = hint if set(index.klass.tolist()) <= {0} else ""
            print(f"{description.name}: {split}: warning: no pixel of {names}{hint}")
    undecoded = tfds.features.Tensor(shape=(), dtype=np.object_)  # not features.Image: TFDS knows no tiles
    tfds.folder_dataset.write_metadata(
        data_dir=made,
        features=tfds.features.FeaturesDict({"id": tfds.features.Text(), "image": undecoded, "label": undecoded}),
        split_infos=infos,
        version=VERSION,
        check_data=False,
        disable_shuffling=True,
    )
    metadata = dataclasses.asdict(description) | {"splits": splits, "source_sha256": source_sha256}
    (made / store.METADATA_FILE).write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")


def _look_for_masks(split: str, labelled: np.ndarray, like_mask: Sequence[str]) -> None:
    """Tells of images that have the values of masks alone.

    Args:
      split: its name.
      labelled: bool[n], which images came with a mask.
      like_mask: of each image its file if it is such, else empty.

    Raises:
      CsstError: most images without a mask look like masks, and most of those with one do not: they are masks.
    """
    found = [path for path in like_mask if path]
    if not found:
        return
    is_like = np.array(like_mask) != ""
    what = f"split {split!r}: {len(found)} images have the values of masks alone: {listed(map(shown, found))}"
    if labelled.any() and is_like[labelled].mean() <= 0.5 and not labelled.all() and is_like[~labelled].mean() > 0.5:
        raise CsstError(
            f"{what}. Most images without a mask look like masks, and those with a mask do not. Take the masks out of "
            "the images; give the photos' folder as --images or --unlabelled."
        )
    print(f"warning: {what}. If they are masks, take them out of the images.", file=sys.stderr)
