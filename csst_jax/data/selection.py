"""Which images of a data set are labelled, and which form the unlabelled pool."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import TYPE_CHECKING

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from csst_jax.data.stored.store import DataSet, Reader


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
      ids_file: text file with one id a line, or empty; an image's path (and its mask's behind it), as published lists
        of label fractions have it, names its id, too.

    Raises:
      CsstError: the list is missing, empty, or names ids that the split does not have or that have no mask.
    """
    with_mask = set(dataset.labelled_ids(split))
    chosen = with_mask
    if ids_file:
        chosen = {_known_id(line, with_mask) for line in _read_ids(pathlib.Path(ids_file))}
        unknown = sorted(chosen - with_mask)
        if unknown:
            raise CsstError(
                f"{ids_file}: {len(unknown)} ids are no labelled images of split {split!r} in {dataset.directory}: "
                f"{', '.join(unknown[:5])}{', …' if len(unknown) > 5 else ''}. Correct the list or the data set."
            )
    if not chosen:
        raise CsstError(f"{dataset.directory}: split {split!r} has no labelled image; add masks and prepare it again.")
    ids = dataset.ids(split)
    labelled = tuple(record for record, image_id in enumerate(ids) if image_id in chosen)
    unlabelled = tuple(record for record, image_id in enumerate(ids) if image_id not in chosen)
    return Selection(dataset, split, labelled, unlabelled)


def images_alone(dataset: DataSet, split: str) -> Selection:
    """All images of a split as unlabelled ones, whether they came with masks or not."""
    return Selection(dataset, split, (), tuple(range(len(dataset.ids(split)))))


def _read_ids(path: pathlib.Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise CsstError(
            f"data.labelled_ids={path}: cannot be read ({error.strerror}); give a text file of ids."
        ) from error
    ids = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not ids:
        raise CsstError(f"{path} holds no id; write one id a line, or set data.labelled_ids='' to use every mask.")
    return ids


def _known_id(line: str, known: set[str]) -> str:
    """The id that a line means: itself, or the image that it is the path of."""
    stem = pathlib.PurePosixPath(line.split()[0]).stem
    candidates = (line, stem, stem.removesuffix("_leftImg8bit"))  # Cityscapes' ids are without it
    return next((candidate for candidate in candidates if candidate in known), line)
