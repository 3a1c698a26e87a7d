"""What a sampler may draw from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Candidates(Protocol):
    """Images with labels, real ones first, and what their labels hold."""

    @property
    def classes(self) -> Sequence[str]:
        """Class names."""

    @property
    def real_share(self) -> float | None:
        """Share of (each class's) draws that come from real labels where there are others too; None: no difference."""

    def images(self) -> np.ndarray:
        """int64 [n, 4]: origin, record, height and width in pixels of every image."""

    def components(self) -> np.ndarray:
        """`PLAN_DTYPE` [n]: centroids of the connected components that are large enough."""

    def tile_points(self, tile_px: int) -> np.ndarray:
        """`PLAN_DTYPE` [n]: the mean place of each class in each tile of every image (paper [11])."""
