"""Which images of a data set are labelled, and which form the unlabelled pool."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import TYPE_CHECKING

from csst_jax.data.id_lists import IdList
from csst_jax.types import CsstError
from csst_jax.user_files import read_text, user_path

if TYPE_CHECKING:
    from csst_jax.data.store import DataSet, Reader


@dataclasses.dataclass(frozen=True)
class Selection:
    """One split, divided.

    Attributes:
      dataset: the prepared data set.
      split: name of the split.
      labelled: records whose masks may be used.
      unlabelled: all other records.
    """

    dataset: DataSet
    split: str
    labelled: tuple[int, ...]
    unlabelled: tuple[int, ...]

    @property
    def reader(self) -> Reader:
        """Random access to the split's images and labels."""
        return self.dataset.reader(self.split)

    def ids(self, records: tuple[int, ...]) -> tuple[str, ...]:
        """Ids of some records."""
        ids = self.dataset.ids(self.split)
        return tuple(ids[record] for record in records)


def select(dataset: DataSet, split: str, ids_file: str) -> Selection:
    """Divides a split by a list of ids; without one, by which images came with a mask.

    Args:
      dataset: the prepared data set.
      split: name of the split.
      ids_file: text file with one id per line, or empty; an image's path (and its mask's behind it), as published lists
        of label fractions have it, names its id, too (`id_lists`).

    Raises:
      CsstError: the list is missing, empty, or names ids that the split does not have or that have no mask.
    """
    with_mask = set(dataset.labelled_ids(split))
    chosen = with_mask
    if ids_file:
        chosen = _chosen(dataset, user_path(ids_file))
        unknown = sorted(chosen - with_mask)
        if unknown:
            elsewhere = [other for other in dataset.splits if set(unknown) & set(dataset.ids(other)) and other != split]
            hint = f" (some are in split {', '.join(map(repr, elsewhere))})" if elsewhere else ""
            raise CsstError(
                f"{ids_file}: {len(unknown)} ids are not labelled images of split {split!r} in {dataset.directory}: "
                f"{', '.join(unknown[:5])}{', …' if len(unknown) > 5 else ''}{hint}. Correct the list or the data set."
            )
    if not chosen:
        raise CsstError(f"{dataset.directory}: split {split!r} has no labelled image; add masks and prepare it again.")
    ids = dataset.ids(split)
    labelled = tuple(record for record, image_id in enumerate(ids) if image_id in chosen)
    unlabelled = tuple(record for record, image_id in enumerate(ids) if image_id not in chosen)
    return Selection(dataset, split, labelled, unlabelled)


def images_alone(dataset: DataSet, split: str, count: int | None = None) -> Selection:
    """Images of a split as unlabelled ones, whether they came with masks or not.

    Args:
      dataset: the prepared data set.
      split: name of the split.
      count: how many, at equal distances in the split's order; None for all.
    """
    have = len(dataset.ids(split))
    chosen = range(have) if count is None else [i * have // count for i in range(count)]
    return Selection(dataset, split, (), tuple(chosen))


def _chosen(dataset: DataSet, path: pathlib.Path) -> set[str]:
    lines = read_text(path, "one id per line (data.labelled_ids)").splitlines()
    every = [image_id for split in dataset.splits for image_id in dataset.ids(split)]
    labelled = [image_id for split in dataset.splits for image_id in dataset.labelled_ids(split)]
    ids = IdList(every, labelled).find(lines, f"data.labelled_ids={path}")
    if not ids:
        raise CsstError(f"{path} holds no id; write one id per line, or set data.labelled_ids='' to use every mask.")
    return ids
