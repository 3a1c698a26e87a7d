"""What enters a training step, described once: streams of crops, and the arrays of each.

The input pipeline fills these arrays, the compiled step takes them, and the mesh lays them out; all three read this.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.types import Phase

REAL, PSEUDO, UNLABELLED = "real", "pseudo", "unlabelled"
ORIGINS = (REAL, PSEUDO, UNLABELLED)
"""What images a stage can train on: with real masks, with pseudo labels, or without labels. The order numbers them."""

WEAK, STRONG, STRONG_2 = "weak", "strong", "strong_2"
"""Views of a crop: the same pixels and the same flip, under weak or strong photometry. The last is another draw."""

STEP = "step"
"""Key of a step's scalars beside the streams' names: the run's `seed`, and the schedule's `learning_rate`."""

BATCH, MAPS, ROWS = "batch", "maps", "rows"
"""Axes of the arrays; the mesh splits crops and rows, not the maps of soft labels."""


@dataclasses.dataclass(frozen=True)
class Stream:
    """Crops of one kind, of which every step takes a fixed number.

    Attributes:
      name: key of the stream in a batch.
      origins: which images it draws from, of `ORIGINS`: REAL and PSEUDO, of which a stage may have the first alone, or
        UNLABELLED.
      views: which views of each crop the method wants.
      parts: its share of a step's crops, relative to the other streams' parts.
      marked: whether each crop tells if its label is a pseudo label.
      soft: maps of soft pseudo labels beside each label (see `csst_jax.data.stored.soft_labels`); 0 for hard ones.
    """

    name: str
    origins: tuple[str, ...]
    views: tuple[str, ...] = (WEAK,)
    parts: int = 1
    marked: bool = False
    soft: int = 0

    @property
    def labelled(self) -> bool:
        """Whether its crops have labels."""
        return UNLABELLED not in self.origins


LABELLED = Stream("labelled", (REAL, PSEUDO))
"""The union of real and pseudo labels (paper §3.2)."""


def half_unlabelled(*views: str) -> tuple[Stream, Stream]:
    """Half of a step's crops with real masks, in the weak view, and half without labels in the given views."""
    return Stream("labelled", (REAL,)), Stream("unlabelled", (UNLABELLED,), views)


def num_maps(k: int) -> int:
    """Maps of a soft label of k classes beside the hard one: classes and probabilities of the ranks 2 to k."""
    return 2 * (k - 1)


def with_soft_labels(streams: Sequence[Stream], maps: int) -> tuple[Stream, ...]:
    """The streams, of which those that draw from pseudo labels have so many maps of soft ones; 0 for hard ones."""
    return tuple(dataclasses.replace(s, soft=maps) if maps and PSEUDO in s.origins else s for s in streams)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One array of a step's input.

    Attributes:
      shape: of the global batch.
      dtype: numpy's.
      axes: the mesh's name for each leading axis that it may split.
    """

    shape: tuple[int, ...]
    dtype: type[np.generic]
    axes: tuple[str, ...] = ()


StepInput: TypeAlias = dict[str, dict[str, Entry]]


def total_parts(streams: Sequence[Stream]) -> int:
    """What the number of a step's crops must be a multiple of."""
    return sum(stream.parts for stream in streams)


def crops_of(streams: Sequence[Stream], global_batch: int) -> dict[str, int]:
    """How many of a step's crops are of each stream.

    Raises:
      CsstError: the batch cannot be divided.
    """
    unit = total_parts(streams)
    if global_batch % unit:
        shares = ", ".join(f"{stream.parts} {stream.name}" for stream in streams)
        raise CsstError(f"a batch of {global_batch} crops cannot be divided as {shares}; use a multiple of {unit}.")
    return {stream.name: global_batch // unit * stream.parts for stream in streams}


def crop_entries(stream: Stream, crops: int, crop_px: int) -> dict[str, Entry]:
    """The arrays of one stream.

    Returns:
      `image`: RGB. `sample`: (epoch, position in the epoch) of each crop. With labels `label`: class indices, 255 =
      void or padding. Without labels `padding`: 255 where the crop lies outside the image, else 0; "has no label" is
      another thing. With soft labels `soft`: their maps, 0 where the label is a real one. Marked `pseudo`: whether the
      label is a pseudo label.
    """
    pixels = (crops, crop_px, crop_px)
    soft = {"soft": Entry((crops, stream.soft, *pixels[1:]), np.uint8, (BATCH, MAPS, ROWS))} if stream.soft else {}
    marks = {"pseudo": Entry((crops,), np.bool_, (BATCH,))} if stream.marked else {}
    return {
        "image": Entry((*pixels, 3), np.uint8, (BATCH, ROWS)),
        "label" if stream.labelled else "padding": Entry(pixels, np.uint8, (BATCH, ROWS)),
        "sample": Entry((crops, 2), np.int32, (BATCH,)),
        **soft,
        **marks,
    }


def step_entries(streams: Sequence[Stream], phase: Phase) -> StepInput:
    """All arrays of one step: those of each stream by its name, and the scalars of the step."""
    counts = crops_of(streams, phase.global_batch)
    by_stream = {s.name: crop_entries(s, counts[s.name], phase.crop_px) for s in streams}
    return by_stream | {STEP: {"seed": Entry((), np.uint32), "learning_rate": Entry((), np.float32)}}
