"""A data set that is prepared again with more images or masks: what was there, and what is new."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import sys
from collections.abc import Collection, Mapping, Sequence

from csst_jax.data.readiness import listed
from csst_jax.data.store import METADATA_FILE, DataSet
from csst_jax.data.stored.encoded import decode_label
from csst_jax.runtime.json_files import read_json
from csst_jax.types import CsstError, DatasetDescription
from data_prep.raw import RawPair

POOL = "unlabelled/"
"""What ids of images of --unlabelled begin with."""


TEST = "test"
"""The split of a data set whose images are neither trained on nor validate."""


@dataclasses.dataclass(frozen=True)
class Earlier:
    """The data set that is there.

    Attributes:
      directory: of its version.
      classes: their names.
      splits: the split of each image by its id.
      labels: hash of each label by the id of its image, for images that came with a mask.
      images: hash of each image's file by its id; empty for images that were prepared without.
      longest_side: that its images were made smaller to; 0 if they were not.
      source: fingerprint of what it was prepared from.
    """

    directory: pathlib.Path
    classes: tuple[str, ...]
    splits: Mapping[str, str]
    labels: Mapping[str, str]
    images: Mapping[str, str]
    longest_side: int
    source: str


def earlier(directory: pathlib.Path, overwrite: bool) -> Earlier | None:
    """What is there; None if nothing is, or if it is damaged and to be replaced.

    Args:
      directory: of the version.
      overwrite: whether a damaged data set is replaced; a line on stderr then says that its split is lost.

    Raises:
      CsstError: it is damaged, and not to be replaced.
    """
    if not (directory / METADATA_FILE).is_file():
        return None
    try:
        return read(directory)
    except CsstError as error:
        if not overwrite:
            raise CsstError(f"{error} To make it again, give --overwrite.") from error
        print(f"warning: the split of the existing data set is lost: {error}", file=sys.stderr)
        (directory / METADATA_FILE).unlink()  # else the builder takes it for finished
        return None


def read(directory: pathlib.Path) -> Earlier:
    """The data set in a version directory.

    Raises:
      CsstError: it is damaged.
    """
    found = DataSet.open(directory)
    splits: dict[str, str] = {}
    labels: dict[str, str] = {}
    images: dict[str, str] = {}
    for split in found.splits:
        labelled, reader = set(found.labelled_ids(split)), found.reader(split)
        digests = found.image_digests(split)
        for record, image_id in enumerate(found.ids(split)):
            splits[image_id], images[image_id] = split, digests[record]
            if image_id in labelled:
                label = decode_label(reader.label_bytes(record))
                labels[image_id] = hashlib.sha256(repr(label.shape).encode() + label.tobytes()).hexdigest()
    source = read_json(found.directory / METADATA_FILE).get("source_sha256", "")
    about = found.description
    return Earlier(found.directory, about.classes, splits, labels, images, about.longest_side, source)


def splits_of(directory: pathlib.Path) -> dict[str, str]:
    """The split of each image of a prepared data set by its id.

    Raises:
      CsstError: nothing prepared is there.
    """
    found = DataSet.open(directory)
    return {image_id: split for split in found.splits for image_id in found.ids(split)}


def known(splits: Mapping[str, str], now: Collection[str]) -> dict[str, str]:
    """The earlier split of each image that there is now; an image that moved from --unlabelled to --images keeps it."""
    moved = {name: splits[POOL + name] for name in now if POOL + name in splits and POOL + name not in now}
    return {name: splits[name] for name in now if name in splits} | moved


def of_test_scenes(groups: Mapping[str, str], splits: Mapping[str, str]) -> set[str]:
    """Images that are left out, as they are of the earlier test split, or new ones of its scenes; says how many.

    Args:
      groups: the group of each image that there is now.
      splits: the earlier split of images.
    """
    scenes = {group for i, group in groups.items() if splits.get(i) == TEST}
    left_out = {i for i, group in groups.items() if group in scenes and splits.get(i, TEST) == TEST}
    if left_out:
        print(
            f"{_count(left_out, 'image')} left out, as {'it is' if len(left_out) == 1 else 'they are'} of the test "
            f"split of --split_of: {listed(sorted(left_out))}"
        )
    return left_out


def require_same_images(before: Earlier, now: Collection[str]) -> None:
    """Refuses other images under the name of the data set that is there.

    Args:
      before: the data set.
      now: ids of the images that there are now.

    Raises:
      CsstError: most of its images are not there now.
    """
    gone = _gone(before, now)
    if 2 * len(gone) > len(before.splits):
        raise CsstError(
            f"{before.directory} holds {len(before.splits)} images, and {len(gone)} of them are neither in --images "
            f"nor in --unlabelled: {listed(gone)}. If you give other images, give them another --name. If not, bring "
            "those images back, or give --overwrite to replace the data set."
        )


def _gone(before: Earlier, now: Collection[str]) -> list[str]:
    """Images of a data set that are no longer there; one may have moved out of the pool's directory."""
    ids = set(now)
    return sorted(i for i in before.splits if i not in ids and i.removeprefix(POOL) not in ids)


def require_nothing_lost(before: Earlier, now: DatasetDescription, splits: Mapping[str, Sequence[RawPair]]) -> None:
    """Refuses to replace a data set by one that lacks something of it, or has images of another size.

    Raises:
      CsstError: the classes are others, or images or masks are gone; says how many, and how to continue.
    """
    if before.longest_side != now.longest_side:
        was = f"--longest_side={before.longest_side}" if before.longest_side else "no --longest_side"
        raise CsstError(
            f"{before.directory} was prepared with {was}; give the same, another --name, or --overwrite to replace the "
            "data set."
        )
    given = {pair.id: pair for pairs in splits.values() for pair in pairs}
    lost = []
    if before.classes != now.classes:
        lost.append(f"its classes are {', '.join(before.classes)}, and now {', '.join(now.classes)}")
    if gone := _gone(before, given):
        lost.append(f"{_count(gone, 'image')} gone: {listed(gone)}")
    unmasked = sorted(i for i in before.labels if i in given and given[i].mask is None)
    if unmasked:
        lost.append(f"{_count(unmasked, 'mask')} gone: {listed(unmasked)}")
    if lost:
        raise CsstError(
            f"{before.directory} is prepared, and this command would remove or change parts of it: {'; '.join(lost)}. "
            "Undo that, give another --name, or --overwrite to replace the data set."
        )


def tell_kept(name: str, before: Earlier, splits: Mapping[str, Sequence[RawPair]]) -> None:
    """Says that splits are kept, or which images change theirs."""
    roles = known(before.splits, {pair.id for pairs in splits.values() for pair in pairs})
    moved = {
        split: sorted(pair.id for pair in pairs if roles.get(pair.id, split) != split)
        for split, pairs in splits.items()
    }
    if any(moved.values()):
        words = (f"{_count(ids, 'image')} now in {split}: {listed(ids)}" for split, ids in moved.items() if ids)
        print(f"{name}: warning: images change their split, so scores cannot be compared: {'; '.join(words)}")
    else:
        print(
            f"{name}: every image of the existing data set keeps its split; --seed and --val_fraction apply to new ones"
        )


def tell_new(name: str, before: Earlier, after: Earlier) -> None:
    """Says what a finished preparation has changed; nothing where there was nothing to do."""
    if before.source == after.source:
        return
    ids, roles = set(after.splits), known(before.splits, after.splits)
    gone_images = _gone(before, ids)
    gone_masks = set(before.labels) - set(after.labels)
    masks = sorted(set(after.labels) - set(before.labels))
    images = sorted(ids - set(roles))
    other_masks = sorted(i for i in after.labels if before.labels.get(i, after.labels[i]) != after.labels[i])
    other_images = sorted(i for i in ids if before.images.get(i) and before.images[i] != after.images[i])
    validate = sum(after.splits[i] == "val" for i in masks)
    where = f" ({len(masks) - validate} to train, {validate} to validate)" if masks else ""
    print(
        f"{name}: since the last preparation: new: {_count(masks, 'mask', '')}{where}, {_count(images, 'image', '')}; "
        f"removed: {_count(gone_masks, 'mask', '')}, {_count(gone_images, 'image', '')}; "
        f"changed: {_named(other_masks, 'mask')}, {_named(other_images, 'image')}"
    )


def _count(ids: Collection[str], word: str, verb: str = " is| are") -> str:
    one, _, many = verb.partition("|")
    return f"1 {word}{one}" if len(ids) == 1 else f"{len(ids)} {word}s{many}"


def _named(ids: Sequence[str], word: str) -> str:
    return _count(ids, word, "") + (f" ({listed(ids)})" if ids else "")
