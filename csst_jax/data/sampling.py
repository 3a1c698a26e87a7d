"""Labelled images as sources of crops, and the strategies that crops are sampled by (paper §3.2)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from csst_jax.data import tile_centroids
from csst_jax.data.stored import encoded
from csst_jax.samplers.centroid import CentroidSampler
from csst_jax.samplers.class_uniform_tiles import ClassUniformTilesSampler
from csst_jax.samplers.plan import concatenate, pool_from_index, require_share
from csst_jax.samplers.uniform import UniformImageSampler
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from csst_jax.data.batches import Sampler, Source
    from csst_jax.data.stored.centroid_index import CentroidIndex

STRATEGIES = ("centroid", "class_uniform_tiles", "uniform")


@dataclasses.dataclass(frozen=True)
class LabelledSource:
    """Images with labels, and where their components lie.

    Attributes:
      source: encoded images and labels.
      records: the records that may be used.
      index: components of the source's labels.
      min_area_px: smallest component that may be a crop's centre.
    """

    source: Source
    records: Sequence[int]
    index: CentroidIndex
    min_area_px: int


@dataclasses.dataclass(frozen=True)
class Strategy:
    """How crops are sampled: `sampler` in configs/base.py.

    Attributes:
      name: one of `STRATEGIES`.
      real_share: share of (each class's) draws from the first source; None draws from the union.
      tile_px: side of the tiles of class_uniform_tiles.
      class_uniform_share: share of an epoch that class_uniform_tiles draws evenly from the classes.

    Raises:
      CsstError: a value is unknown or out of range; names it.
    """

    name: str
    real_share: float | None
    tile_px: int
    class_uniform_share: float

    def __post_init__(self) -> None:
        if self.name not in STRATEGIES:
            raise CsstError(f"unknown sampler {self.name!r}; known are: {', '.join(STRATEGIES)}.")
        if self.tile_px < 1:
            raise CsstError(f"tile_px is {self.tile_px}; give the side of a tile in pixels, 1 or more.")
        if self.real_share is not None:
            require_share("real_share", self.real_share)
        require_share("class_uniform_share", self.class_uniform_share)


def require_crop_fits(crop_px: int, sizes: Sequence[tuple[int, int]]) -> None:
    """Refuses a crop that is larger than every image (height, width): each would be padding for the most part.

    Raises:
      CsstError: it is; names the largest that is not.
    """
    largest = max(max(size) for size in sizes)
    if crop_px > largest:
        raise CsstError(
            f"crop_px={crop_px} is larger than every training image (the longest side is {largest} px); "
            f"set crop_px to {largest // 32 * 32 or largest} or less."
        )


def make_sampler(strategy: Strategy, sources: Sequence[LabelledSource], classes: Sequence[str]) -> Sampler:
    """The sampler of a strategy over the sources (real labels first), which are one pool (paper §3.2).

    Args:
      strategy: which, and its numbers.
      sources: what the rows' `source` indexes.
      classes: class names.

    Raises:
      CsstError: nothing to sample, or a label that cannot be read.
    """
    images = UniformImageSampler(
        [
            (number, record, *encoded.size(labelled.source.label_bytes(record)))
            for number, labelled in enumerate(sources)
            for record in labelled.records
        ],
        real_share=strategy.real_share,
    )
    if strategy.name == "uniform":
        return images
    if strategy.name == "centroid":
        pools = [_pool(labelled, number, labelled.index) for number, labelled in enumerate(sources)]
        return CentroidSampler(concatenate(pools), len(classes), classes, real_share=strategy.real_share)
    tiles = [tile_centroids.read(s.source, s.records, len(classes), strategy.tile_px) for s in sources]
    pools = [_pool(labelled, number, tiles[number]) for number, labelled in enumerate(sources)]
    points = CentroidSampler(concatenate(pools), len(classes), classes, real_share=strategy.real_share)
    return ClassUniformTilesSampler(points, images, len(classes), strategy.class_uniform_share)


def _pool(labelled: LabelledSource, number: int, points: CentroidIndex | tile_centroids.TileCentroids) -> np.ndarray:
    return pool_from_index(points, number, labelled.records, labelled.min_area_px)
