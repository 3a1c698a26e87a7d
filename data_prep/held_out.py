"""Which labelled images validate: by a hash of their names or groups, or as a list says. Who has a split keeps it."""

from __future__ import annotations

import hashlib
import pathlib
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence

from csst_jax.data.id_lists import IdList
from csst_jax.data.readiness import listed
from csst_jax.types import CsstError
from csst_jax.user_files import read_text
from data_prep.problems import Problems

_TRAINED = ("train", "training")
_JUDGED = ("val", "valid", "validation", "test", "testing")
"""Directories that other programs divide images into."""


def groups_of(ids: Iterable[str], pattern: str, everywhere: bool = True) -> dict[str, str]:
    """The group of each id: what the pattern finds in it; without a pattern each id is a group of its own.

    Args:
      ids: of all images.
      pattern: a regular expression, searched in the id; its first group in brackets if it has one. "" for none.
      everywhere: whether it must be found in each id; others are left out.

    Raises:
      CsstError: the pattern cannot be read, or is not found in some ids.
    """
    if not pattern:
        return {image_id: image_id for image_id in ids}
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise CsstError(
            f"--group_by={pattern}: {error}; give a regular expression, such as '^(scene\\d+)_'."
        ) from error
    found = {image_id: expression.search(image_id) for image_id in ids}
    missing = sorted(image_id for image_id, match in found.items() if not match)
    if missing and everywhere:
        raise CsstError(
            f"--group_by={pattern} is not found in {len(missing)} of {len(found)} ids: {listed(missing)}. An id is the "
            "path of an image below --images, without its suffix."
        )
    return {i: match[1 if expression.groups else 0] or "" for i, match in found.items() if match}


def tell_directories(ids: Iterable[str]) -> None:
    """Warns of images that lie in directories which have the names of splits: the draw does not look at those."""
    below = [(directory.lower(), image_id) for image_id in ids for directory in image_id.split("/")[:-1]]
    judged = {directory: image_id for directory, image_id in below if directory in _JUDGED}
    if judged and any(directory in _TRAINED for directory, _ in below):
        print(
            f"warning: images lie in directories called {' and '.join(sorted(judged))} and train, but validation "
            "images are drawn from all of them, and the others are trained on. To keep that split, list its validation "
            f"images (--val_list=FILE), such as {min(judged.values())}, and take test images out of the directory.",
            file=sys.stderr,
        )


def draw_val(
    labelled: Sequence[str],
    fraction: float,
    seed: int,
    earlier: Mapping[str, str] | None = None,
    groups: Mapping[str, str] | None = None,
) -> set[str]:
    """Validation ids among the labelled ones: at least one, and at least one is left for training.

    A first preparation takes the groups with the smallest hashes, until they have as many ids as the fraction says. A
    later one keeps every image's split. A new image goes where its group is; of the groups that are new, those whose
    hash is below the fraction validate.

    Args:
      labelled: ids of all images with a mask.
      fraction: share of them, above 0 and below 1.
      seed: gives other hashes.
      earlier: the split of each image of the data set that is there, with or without a mask; None if there is none.
      groups: the group of each id, whose images stay in one split; None if each id is its own.

    Raises:
      CsstError: fewer than two labelled images or groups, or a fraction out of range, or no image is left to validate.
    """
    if not 0.0 < fraction < 1.0:
        raise CsstError(f"--val_fraction={fraction} must lie between 0 and 1.")
    if len(labelled) < 2:
        raise CsstError(f"{len(labelled)} labelled images; at least 2 are needed, one to train and one to validate.")
    group = groups or {image_id: image_id for image_id in labelled}
    members: dict[str, list[str]] = {}
    for image_id in labelled:
        members.setdefault(group[image_id], []).append(image_id)
    ordered = sorted(members, key=lambda name: place(name, seed))
    if len(ordered) < 2:
        raise CsstError(f"all labelled images are of the group {ordered[0]!r} (--group_by); label images of another.")
    if not earlier:
        wanted, chosen = max(round(fraction * len(labelled)), 1), set[str]()
        for name in ordered[:-1]:
            if len(chosen) < wanted:
                chosen.update(members[name])
        if len(chosen) > 2 * wanted:
            print(
                f"warning: {len(chosen)} of {len(labelled)} masks validate, where --val_fraction asks for {wanted}: "
                f"--group_by keeps images together. Another --seed with another --name draws other groups. Or name "
                "the validation images with --val_list.",
                file=sys.stderr,
            )
        return chosen
    # Images of one group may have both splits from before --group_by was given: one that validates decides.
    known = sorted((split == "val", group[i], split) for i, split in earlier.items() if i in group)
    split_of_group = {name: split for _, name, split in known}
    validates = {
        name
        for name in ordered
        if (split_of_group[name] == "val" if name in split_of_group else place(name, seed) < fraction)
    }
    chosen = {i for i in labelled if (earlier[i] == "val" if i in earlier else group[i] in validates)}
    if not chosen:
        new = [i for name in ordered for i in members[name] if name not in split_of_group]
        if not new:
            raise CsstError(
                "none of the images that validated has a mask any more, and all others with a mask have been trained "
                "on. Name the validation images in a file, --val_list=FILE. If these are the images of another data "
                "set, give it another --name."
            )
        return set(members[group[new[0]]])
    return chosen


def place(image_id: str, seed: int) -> float:
    """A number from 0 to below 1 that belongs to an id, evenly spread over ids.

    >>> place("photo 1", 0) == place("photo 1", 0) != place("photo 1", 1)
    True
    """
    # A name that is not UTF-8 is refused later, with all other problems.
    digest = hashlib.sha256(f"{seed}/{image_id}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def listed_val(path: pathlib.Path, images: Collection[str], masks: Collection[str], problems: Problems) -> set[str]:
    """Validation ids of a list file (see `csst_jax.data.id_lists`); each must have a mask."""
    try:
        lines = read_text(path, "one id per line (--val_list)").splitlines()
        chosen = IdList(images, masks).find(lines, f"--val_list={path}")
    except CsstError as error:
        problems.add(str(error))
        return set()
    if not chosen:
        problems.add(f"--val_list={path} names no image. Write the id of each validation image in a line of its own.")
    for image_id in sorted(chosen - set(masks)):
        problems.add(f"--val_list={path}: {image_id!r} has no mask; a validation image needs one.")
    return chosen & set(masks)
