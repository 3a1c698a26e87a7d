"""What the labels of some images hold, class by class; from the centroid index alone, no label is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np

from csst_jax.data.stored.centroid_index import CentroidIndex

SPECKS_SHARE = 0.01
"""A class's smallest components are specks as long as they hold no more than this share of its pixels together."""


@dataclasses.dataclass(frozen=True, eq=False)
class ClassStatistics:
    """Counts over the labelled images that were asked for; every array has one entry a class.

    Attributes:
      pixels: int64[C].
      images: int64[C], images that show the class.
      components: int64[C].
      median_area_px: float64[C], of the components; 0 where there is none.
      largest_area_px: int64[C], of the components; 0 where there is none.
      speck_area_px: int64[C], the largest minimum area that leaves out specks alone (`SPECKS_SHARE`); 0 where there is
        no component.
      empty_records: images that show no class: their labels are void all over.
    """

    pixels: np.ndarray
    images: np.ndarray
    components: np.ndarray
    median_area_px: np.ndarray
    largest_area_px: np.ndarray
    speck_area_px: np.ndarray
    empty_records: tuple[int, ...]

    @property
    def present(self) -> np.ndarray:
        """bool[C], classes that have a pixel."""
        return self.components > 0

    @property
    def suggested_min_area_px(self) -> int:
        """A minimum area for every class (`sampler.min_area_px`): the smallest of theirs, so that none loses more."""
        return int(self.speck_area_px[self.present].min()) if self.present.any() else 0


def class_statistics(index: CentroidIndex, records: Collection[int]) -> ClassStatistics:
    """Counts what the labels of `records` hold.

    Args:
      index: components of the labels of a split.
      records: images that count, for example the labelled ones.
    """
    num_classes = index.num_classes
    counted = np.isin(index.record, np.fromiter(records, dtype=np.int64))
    klass, area, record = index.klass[counted], index.area[counted], index.record[counted]
    pairs = np.unique(np.stack([klass, record]), axis=1)
    areas = [np.sort(area[klass == k]) for k in range(num_classes)]
    return ClassStatistics(
        pixels=np.bincount(klass, weights=area, minlength=num_classes).astype(np.int64),
        images=np.bincount(pairs[0], minlength=num_classes),
        components=np.bincount(klass, minlength=num_classes),
        median_area_px=np.array([np.median(found) if len(found) else 0.0 for found in areas]),
        largest_area_px=np.array([found.max(initial=0) for found in areas]),
        speck_area_px=np.array([_speck_area(found) for found in areas]),
        empty_records=tuple(sorted(set(records) - set(record.tolist()))),
    )


def _speck_area(areas: np.ndarray) -> int:
    """The largest minimum for ascending areas that drops at most `SPECKS_SHARE` of their sum."""
    if not len(areas):
        return 0
    held = np.cumsum(areas, dtype=np.int64)
    return int(areas[np.searchsorted(held, SPECKS_SHARE * held[-1], side="right")])
