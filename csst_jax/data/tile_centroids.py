"""One point for every class of every tile, as VPLR's class-uniform sampling takes them (paper [11])."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from csst_jax.data.stored import encoded
from csst_jax.data.stored.components import areas_and_centroids, require_known_values, runs
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.data.batches import Reader


@dataclasses.dataclass(frozen=True, eq=False)
class TileCentroids:
    """Points of many label maps, ordered by image, tile and class; columns as in `CentroidIndex`.

    Attributes:
      record: int32[n].
      klass: int32[n].
      y: float32[n], the mean row of the class's pixels in the tile.
      x: float32[n], their mean column.
      area: int32[n], how many they are.
    """

    record: np.ndarray
    klass: np.ndarray
    y: np.ndarray
    x: np.ndarray
    area: np.ndarray


def tile_centroids(
    label: np.ndarray, num_classes: int, tile_px: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean place of each class in each tile of a label map.

    As in VPLR, as many whole tiles are laid from the top left corner as there is room for, and what remains at the
    right and the bottom is left out. A side shorter than a tile gives one tile of its length, where VPLR has none.

    Args:
      label: uint8[h, w] class indices, 255 = void.
      num_classes: C.
      tile_px: side of a tile (VPLR: 1024).

    Returns:
      (klass int32[n], y float32[n], x float32[n], area int32[n]).

    Raises:
      CsstError: a value is neither a class nor 255.
    """
    height, width = (min(tile_px, side) for side in label.shape)
    found = []
    for top in range(0, label.shape[0] - height + 1, height):
        for left in range(0, label.shape[1] - width + 1, width):
            start, length, value = runs(label[top : top + height, left : left + width])
            require_known_values(value, length, num_classes)
            area, y, x = areas_and_centroids(value, start, length, width, num_classes)
            klass = np.flatnonzero(area)
            found.append((klass, top + y[klass], left + x[klass], area[klass]))
    klass, y, x, area = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return klass.astype(np.int32), y, x, area


def read(source: Reader, records: Sequence[int], num_classes: int, tile_px: int) -> TileCentroids:
    """`tile_centroids` of some records of a source (at least one), on all cores.

    Every label is decoded (a few milliseconds each) whenever a stage starts: nothing is kept, so nothing goes stale.

    Raises:
      CsstError: a label is damaged, or a value is neither a class nor 255; names the record.
    """

    def one(record: int) -> tuple[np.ndarray, ...]:
        try:
            found = tile_centroids(encoded.decode_label(source.label_bytes(record)), num_classes, tile_px)
        except CsstError as error:
            raise CsstError(f"{source.describe(record)}: {error}") from error
        return np.full(len(found[0]), record, np.int32), *found

    with concurrent.futures.ThreadPoolExecutor() as pool:
        columns = zip(*pool.map(one, records), strict=True)
    return TileCentroids(*(np.concatenate(parts) for parts in columns))
