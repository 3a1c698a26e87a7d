"""Whether a data set is fit to train on: what metadata and centroid index tell, before every run, in a moment.

`python -m data_prep.check` decodes every image, and says this too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from csst_jax.data.statistics import ClassStatistics, class_statistics
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import numpy as np

    from csst_jax.data.selection import Selection
    from csst_jax.data.store import DataSet

_FEW_COPIES = 0.01
"""Share of the validation images up to which copies in the training split are a warning."""

_OTHER_SPLIT = " Or choose other validation images with --val_list=FILE (data_prep.folder)."


@dataclasses.dataclass
class Findings:
    """What is wrong, in sentences that name file or id, and the fix.

    Attributes:
      errors: training or its scores would go wrong.
      warnings: worth knowing.
    """

    errors: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)

    def extend(self, other: Findings) -> None:
        """Adds another's."""
        self.errors += other.errors
        self.warnings += other.warnings


def statistics(data_set: DataSet, split: str, records: Collection[int]) -> ClassStatistics:
    """What the labels of some records of a split hold.

    Raises:
      CsstError: the centroid index is missing, stale, damaged or made for other classes.
    """
    index = data_set.centroids(split)
    if index.num_classes != len(data_set.description.classes):
        raise CsstError(
            f"{data_set.directory}: the centroid index of split {split!r} is of {index.num_classes} classes, the data "
            f"set of {len(data_set.description.classes)}. Prepare the data set again."
        )
    return class_statistics(index, records)


def require_pool(pool: Selection, otherwise: str) -> None:
    """Refuses a split of which all images are labelled.

    Args:
      pool: the training split.
      otherwise: what else one can do; ends the message.

    Raises:
      CsstError: there is nothing to learn from but masks.
    """
    if not pool.unlabelled:
        raise CsstError(
            f"the unlabelled pool is empty: all {len(pool.labelled)} images of split {pool.split!r} in "
            f"{pool.dataset.directory} are labelled. Add images without masks, name fewer ids in "
            f"data.labelled_ids, or {otherwise}."
        )


def findings(pool: Selection, validation: Selection) -> Findings:
    """Compares the labelled images with those that networks are judged on.

    Args:
      pool: the training split.
      validation: the validation split.

    Raises:
      CsstError: see `statistics`.
    """
    found = Findings()
    classes = pool.dataset.description.classes
    train, judged = (
        statistics(selection.dataset, selection.split, selection.labelled) for selection in (pool, validation)
    )
    where = f"{pool.dataset.directory}: the {len(pool.labelled)} labelled images of split {pool.split!r}"
    if train.present.sum() < 2:
        shown = names_of(classes, train.present) or "nothing but void"
        hint = (
            " Masks of 0 and 255 mean class 0 and void here. If 255 is your class 1, prepare them with --classes=FILE "
            f"(data_prep.folder): `[{{name: {classes[0]}, values: [0]}}, {{name: {classes[1]}, values: [255]}}]`."
            if train.present[0] and train.present.sum() == 1
            else ""
        )
        found.errors.append(f"{where} show {shown}; there is nothing to tell apart. Check the masks' values.{hint}")
    if not judged.present.any():
        found.errors.append(
            f"{validation.dataset.directory}: split {validation.split!r} has no labelled pixel; no score can be "
            "computed. Check the masks' values."
        )
    unlearnt, counted = ~train.present & judged.present, ~train.present & ~judged.present
    if unlearnt.any():
        found.warnings.append(
            f"{where} have no pixel of {names_of(classes, unlearnt)}, but split {validation.split!r} has. The IoU "
            "counts as 0 in the mean. Label an image that shows it, or leave the class out."
            + (_OTHER_SPLIT if judged.images[unlearnt].max() > 1 else "")
        )
    if counted.any():
        found.warnings.append(
            f"no pixel of {names_of(classes, counted)} in the labelled images of either split: it is neither learnt "
            "nor measured."
        )
    unjudged = train.present & ~judged.present
    if unjudged.any():
        found.warnings.append(
            f"split {validation.split!r} has no pixel of {names_of(classes, unjudged)}. The IoU counts as 0 in the "
            "mean if a network predicts it anywhere there, and is left out of the mean if not. Label a validation "
            "image that shows it." + (_OTHER_SPLIT if train.images[unjudged].max() > 1 else "")
        )
    for selection, holds in ((pool, train), (validation, judged)):
        if holds.empty_records:
            found.warnings.append(
                f"split {selection.split!r}: {len(holds.empty_records)} masks are void all over, for example "
                f"{listed(selection.ids(holds.empty_records))}; check them."
            )
    _find_shared_images(pool, validation, found)
    return found


def _find_shared_images(pool: Selection, validation: Selection, found: Findings) -> None:
    """Images that are in both splits, by the hashes of their files; by their ids in data sets that have no hashes."""
    if pool.split == validation.split and pool.dataset.directory == validation.dataset.directory:
        found.warnings.append(
            f"split {pool.split!r} is trained on and validated on: scores say nothing about other images."
        )
        return
    digests, judged = pool.dataset.image_digests(pool.split), validation.dataset.image_digests(validation.split)
    by_digest = {digest: record for record, digest in enumerate(digests) if digest}
    ids, judged_ids = pool.dataset.ids(pool.split), validation.dataset.ids(validation.split)
    copies = [f"{judged_ids[r]} = {ids[by_digest[d]]}" for r, d in enumerate(judged) if d in by_digest]
    in_pool: dict[str, set[int]] = {}
    for record, image_id in enumerate(pool.dataset.ids(pool.split)):
        for own in (image_id, image_id.split("/", 2)[-1]):  # ids of joined images begin with data set and split
            in_pool.setdefault(own, set()).add(record)
    same = copies or [
        image_id
        for record, image_id in enumerate(validation.dataset.ids(validation.split))
        if any(
            validation.reader.image_bytes(record) == pool.reader.image_bytes(other)
            for other in in_pool.get(image_id, ())
        )
    ]
    if same:
        text = (
            f"{len(same)} images of split {validation.split!r} are in split {pool.split!r}, too: {listed(same)}; "
            "scores on them say nothing about other images. Take them out of one split and prepare the data set again."
        )
        # Published splits of many thousand images have a few such pairs; their scores are compared all the same.
        (found.errors if len(same) > _FEW_COPIES * len(judged_ids) else found.warnings).append(text)


def names_of(classes: Sequence[str], chosen: np.ndarray) -> str:
    """Names of the classes that are chosen (bool[C])."""
    return ", ".join(name for name, is_chosen in zip(classes, chosen, strict=True) if is_chosen)


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first few names."""
    names = list(names)
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
