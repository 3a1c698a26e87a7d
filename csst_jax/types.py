"""Values that cross the seams of the code base: phases, data set descriptions, and the error a user sees."""

from __future__ import annotations

import dataclasses

IGNORE_LABEL = 255
"""Label of pixels that no loss and no metric counts (void, padding); every data set is stored with this value."""

SOFT_ONE = 255
"""A probability of 1 in the maps of soft pseudo labels, which are uint8."""


class CsstError(Exception):
    """Something the user can fix: the message names the file, key or value and says how.

    `csst_jax.main` and the commands of `data_prep` print it without a traceback and exit with status 2.
    """


@dataclasses.dataclass(frozen=True)
class Phase:
    """One epoch's shape (paper §3.3): what a training step is compiled for, and how often it runs.

    Attributes:
      crop_px: side of the square crop, in pixels.
      global_batch: crops per step over all devices and processes.
      steps: steps in this epoch.
    """

    crop_px: int
    global_batch: int
    steps: int

    @property
    def compile_key(self) -> tuple[int, int]:
        """(crop_px, global_batch): phases that agree here share one compiled step."""
        return (self.crop_px, self.global_batch)


@dataclasses.dataclass(frozen=True)
class DatasetDescription:
    """What a data set's label values mean.

    Attributes:
      name: the data set's name, as in its directory.
      classes: class names; a class's position is its label value.
      palette: one RGB colour (0 to 255) a class, for pictures.
      official_ids: the number of each class in the data set's own masks, which its test server expects; empty where
        that is the label value.
      longest_side: images whose longer side was greater were made smaller, to so many pixels; 0 = all are as they were.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    official_ids: tuple[int, ...] = ()
    # Not in `repr`, of which earlier data sets have fingerprints.
    longest_side: int = dataclasses.field(default=0, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if not 2 <= len(self.classes) <= IGNORE_LABEL:
            raise CsstError(f"data set {self.name!r} has {len(self.classes)} classes; give 2 to {IGNORE_LABEL}.")
        if len(self.palette) != len(self.classes):
            raise CsstError(
                f"data set {self.name!r}: {len(self.palette)} palette colours for {len(self.classes)} classes; "
                "give one each."
            )
        if self.official_ids and len(self.official_ids) != len(self.classes):
            raise CsstError(
                f"data set {self.name!r}: {len(self.official_ids)} official ids for {len(self.classes)} classes; "
                "give one each, or none."
            )
