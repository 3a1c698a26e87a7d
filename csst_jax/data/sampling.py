"""The images that a stage trains on, and what its samplers may draw from them (paper §3.2)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from csst_jax.data import tile_centroids
from csst_jax.data.stored import encoded
from csst_jax.samplers.plan import concatenate, pool_from_index
from csst_jax.samplers.uniform import UniformImageSampler
from csst_jax.streams import ORIGINS, PSEUDO, REAL, UNLABELLED
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from csst_jax.data.batches import Reader
    from csst_jax.data.crop_plan import Sampler
    from csst_jax.data.stored.centroid_index import CentroidIndex
    from csst_jax.streams import Stream


_NOTHING_TO_SAMPLE = {
    REAL: "the masks have no pixel of any class, or every component is smaller than sampler.min_area_px. Check the "
    "masks, or lower sampler.min_area_px.",
    PSEUDO: "the pseudo labels are void everywhere, or every component is smaller than sampler.pseudo_min_area_px. "
    "Lower label.confidence_threshold or sampler.pseudo_min_area_px, or raise label.class_portion if it is set.",
}
_NO_IMAGES = {
    REAL: "Add masks.",
    PSEUDO: "Only a student has pseudo labels, which the label stage makes. Take method.name=supervised here.",
    UNLABELLED: "Add images without masks, or take method.name=supervised.",
}
"""What to do, by origin."""


@dataclasses.dataclass(frozen=True)
class Images:
    """Images of one origin.

    Attributes:
      reader: encoded images, and labels where they have any.
      records: the records that may be used.
      index: components of the labels; None for images without labels.
      min_area_px: smallest component that may be a crop's centre, one number or int64 [C] by class.
    """

    reader: Reader
    records: Sequence[int]
    index: CentroidIndex | None = None
    min_area_px: int | np.ndarray = 0


class WithoutLabels:
    """Images of a reader whose labels, if it has any, nobody looks at."""

    def __init__(self, reader: Any):
        """Takes a reader with `image_bytes`."""
        self._reader = reader

    def __len__(self) -> int:
        """Number of records."""
        return len(self._reader)

    def pair_bytes(self, record: int) -> tuple[bytes, None]:
        """(encoded image, None)."""
        return self._reader.image_bytes(record), None

    def label_bytes(self, record: int) -> bytes:
        """What tells the image's size; every stored image has a label, void where it came with none."""
        return self._reader.label_bytes(record)

    def describe(self, record: int) -> str:
        """File and record, for messages."""
        return self._reader.describe(record)


@dataclasses.dataclass(frozen=True)
class StreamCandidates:
    """What a stream's sampler may draw from; see `csst_jax.samplers.candidates.Candidates`.

    Attributes:
      numbered: (number in the plan's `origin`, images) of each origin, real labels first.
      classes: class names.
      real_share: share of draws from real labels; None draws from the union.
      origins: whose images these are, for messages.
    """

    numbered: Sequence[tuple[int, Images]]
    classes: Sequence[str]
    real_share: float | None
    origins: Sequence[str]

    def images(self) -> np.ndarray:
        """int64 [n, 4]: number, record, height and width.

        Raises:
          CsstError: a label cannot be read.
        """
        rows = [
            (number, record, *encoded.size(given.reader.label_bytes(record)))
            for number, given in self.numbered
            for record in given.records
        ]
        return np.asarray(rows, np.int64).reshape(-1, 4)

    def components(self) -> np.ndarray:
        """`PLAN_DTYPE` [n], n > 0.

        Raises:
          CsstError: there is none; names the kind of labels and the fix.
        """
        return self._pool(lambda given: given.index)

    def tile_points(self, tile_px: int) -> np.ndarray:
        """`PLAN_DTYPE` [n], n > 0.

        Raises:
          CsstError: there is none, or a label cannot be read; names the kind of labels and the fix.
        """
        return self._pool(lambda given: tile_centroids.read(given.reader, given.records, len(self.classes), tile_px))

    def _pool(self, points: Callable[[Images], Any]) -> np.ndarray:
        found = concatenate(
            [pool_from_index(points(given), n, given.records, given.min_area_px) for n, given in self.numbered]
        )
        if not len(found):
            causes = " ".join(_NOTHING_TO_SAMPLE[origin] for origin in self.origins)
            raise CsstError(f"there is no centroid to sample: {causes}")
        return found


def readers(images: Mapping[str, Images]) -> list[Reader]:
    """What the rows' `origin` indexes: the readers of the origins that there are, in the order of `ORIGINS`."""
    return [images[origin].reader for origin in ORIGINS if origin in images]


def samplers(
    streams: Sequence[Stream],
    images: Mapping[str, Images],
    classes: Sequence[str],
    real_share: float | None,
    make: Callable[[StreamCandidates], Sampler],
) -> dict[str, Sampler]:
    """A sampler for each stream; those of images without labels draw images evenly.

    Args:
      streams: of the method.
      images: by origin.
      classes: class names.
      real_share: see `StreamCandidates`.
      make: from candidates to the configured sampler.

    Raises:
      CsstError: a stream has no images, nothing to sample, or a label that cannot be read.
    """
    numbers = {origin: number for number, origin in enumerate(o for o in ORIGINS if o in images)}
    found: dict[str, Sampler] = {}
    for stream in streams:
        there = [origin for origin in stream.origins if origin in images]
        if not there:
            raise CsstError(
                f"the method's stream {stream.name!r} needs {' or '.join(stream.origins)} images, and there are none. "
                f"{_NO_IMAGES[stream.origins[-1]]}"
            )
        numbered = [(numbers[origin], images[origin]) for origin in there]
        candidates = StreamCandidates(numbered, classes, real_share, there)
        found[stream.name] = make(candidates) if stream.labelled else UniformImageSampler(candidates.images())
    return found


def even_samplers(
    streams: Sequence[Stream], images: Mapping[str, Images], classes: Sequence[str]
) -> dict[str, Sampler]:
    """Samplers of crops that lie anywhere in any image of a stream; see `samplers`."""
    return samplers(streams, images, classes, None, lambda candidates: UniformImageSampler(candidates.images()))


def require_crop_fits(crop_px: int, sizes: Iterable[tuple[int, int]]) -> None:
    """Refuses a crop that is larger than every image: each would be padding for the most part.

    Args:
      crop_px: its side.
      sizes: (height, width) of the images; no more of them are looked at once one is large enough.

    Raises:
      CsstError: it is; names the largest that is not.
    """
    largest = 0
    for size in sizes:
        largest = max(largest, *size)
        if largest >= crop_px:
            return
    raise CsstError(
        f"crop_px={crop_px} is larger than every training image (the longest side is {largest} px); "
        f"set crop_px to {largest // 32 * 32 or largest} or less."
    )
