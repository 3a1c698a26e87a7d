"""Which images a run trains on and is judged on: the configuration's `data`."""

from __future__ import annotations

import dataclasses

from csst_jax.data.joined import directories, join, labelled_splits, pools
from csst_jax.data.selection import Selection, images_alone, select
from csst_jax.data.store import DataSet
from csst_jax.types import CsstError


@dataclasses.dataclass(frozen=True)
class Data:
    """See `data` in configs/base.py, which explains each field."""

    dir: str
    train_split: str
    val_split: str
    labelled_ids: str
    more_labelled: str
    more_unlabelled: str

    def directories(self) -> list[str]:
        """Those of all data sets that are read; `dir` may be empty."""
        return [self.dir, *directories(self.more_labelled), *directories(self.more_unlabelled)]

    def open(self) -> DataSet:
        """The prepared data set that `dir` names.

        Raises:
          CsstError: none is named, or none is there.
        """
        if not self.dir:
            raise CsstError("data.dir is empty; set --config.data.dir=DIR to a prepared data set (see data_prep).")
        return DataSet.open(self.dir)

    def training(self, opened: DataSet) -> Selection:
        """The training split, divided into labelled and unlabelled images, with what is joined to it."""
        own = select(opened, self.train_split, self.labelled_ids)
        more = labelled_splits(self.more_labelled, "data.more_labelled")
        more += pools(self.more_unlabelled, "data.more_unlabelled")
        return join([own, *more]) if more else own

    def validation(self, opened: DataSet) -> Selection:
        """The labelled images of the validation split."""
        return select(opened, self.val_split, "")

    def evaluation(self, opened: DataSet) -> Selection:
        """The validation split, whether any image is labelled or not: a test split has no masks."""
        if opened.labelled_ids(self.val_split):
            return self.validation(opened)
        return images_alone(opened, self.val_split)
