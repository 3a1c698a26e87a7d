"""Which labelled images validate: by a hash of their names, or as a list says; an image that has a split keeps it."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Collection, Mapping, Sequence

from csst_jax.data.id_lists import IdList
from csst_jax.types import CsstError
from csst_jax.user_files import read_text
from data_prep.problems import Problems


def draw_val(labelled: Sequence[str], fraction: float, seed: int, earlier: Mapping[str, str] | None = None) -> set[str]:
    """Validation ids among the labelled ones: at least one, and at least one is left for training.

    A first preparation takes the ids with the smallest hashes, as many as the fraction says. A later one keeps every
    image's split; of the images that are new, those whose hash is below the fraction validate.

    Args:
      labelled: ids of all images with a mask.
      fraction: share of them, above 0 and below 1.
      seed: gives other hashes.
      earlier: the split of each image of the data set that is there, with or without a mask; None if there is none.

    Raises:
      CsstError: fewer than two labelled images, or a fraction out of range, or no image is left to validate.
    """
    if not 0.0 < fraction < 1.0:
        raise CsstError(f"--val_fraction={fraction} must lie between 0 and 1.")
    if len(labelled) < 2:
        raise CsstError(f"{len(labelled)} labelled images; at least 2 are needed, one to train and one to validate.")
    ordered = sorted(labelled, key=lambda image_id: place(image_id, seed))
    if not earlier:
        return set(ordered[: min(max(round(fraction * len(labelled)), 1), len(labelled) - 1)])
    kept = {image_id for image_id in labelled if earlier.get(image_id) == "val"}
    chosen = kept | {i for i in ordered if i not in earlier and place(i, seed) < fraction}
    if not chosen:
        new = [image_id for image_id in ordered if image_id not in earlier]
        if not new:
            raise CsstError(
                "none of the images that validated has a mask any more, and every other image has been trained on. "
                "Name the validation images in a file: --val_list=FILE."
            )
        return {new[0]}
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
        lines = read_text(path, "one id a line (--val_list)").splitlines()
        chosen = IdList(images, masks).find(lines, f"--val_list={path}")
    except CsstError as error:
        problems.add(str(error))
        return set()
    for image_id in sorted(chosen - set(masks)):
        problems.add(f"--val_list={path}: {image_id!r} has no mask; a validation image needs one.")
    return chosen & set(masks)
