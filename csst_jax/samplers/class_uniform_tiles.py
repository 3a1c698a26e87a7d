"""Class-uniform tile sampling of VPLR (paper [11]), which centroid sampling is compared with (paper §3.2).

VPLR cuts each image into tiles and keeps one point for every class of a tile: the mean place of the class's pixels
there (`csst_jax.data.tile_centroids`). It is no object's centre, and may lie between two. A share of each epoch is
drawn evenly from the classes, the rest is whole images. The released code is followed (NVIDIA/semantic-segmentation,
`sdcnet:datasets/uniform.py`), which draws from all classes, where the paper's §3.2 says that only rare ones are. Two
things differ. Crops are centred on the point, as those of centroid sampling are, so that the two compare by their
points alone (the original places a crop at random around it). And the share of a class without a point goes to
whole images (the original's epochs shrink).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from csst_jax.samplers import plan as plans
from csst_jax.samplers.candidates import Candidates
from csst_jax.samplers.centroid import CentroidSampler
from csst_jax.samplers.uniform import UniformImageSampler
from csst_jax.types import CsstError


class ClassUniformTilesSampler:
    """Of N samples int(N * share / C) are points of each class, the others images with a crop anywhere."""

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """The sampler's numbers.

        Attributes:
          tile_px: side of a tile, in pixels of the image.
          share: share of an epoch's crops that are drawn evenly from the classes.
        """

        tile_px: int
        share: float

        def __post_init__(self) -> None:
            if self.tile_px < 1:
                raise CsstError(f"tile_px is {self.tile_px}; give the side of a tile in pixels, 1 or more.")
            plans.require_share("share", self.share)

    @classmethod
    def make(cls, settings: Settings, candidates: Candidates) -> ClassUniformTilesSampler:
        """Over the tiles and the images of the candidates."""
        classes, share = candidates.classes, candidates.real_share
        points = CentroidSampler(candidates.tile_points(settings.tile_px), classes, real_share=share)
        images = UniformImageSampler(candidates.images(), real_share=share)
        return cls(points, images, len(classes), settings.share)

    def __init__(
        self, points: CentroidSampler, images: UniformImageSampler, num_classes: int, class_uniform_share: float
    ) -> None:
        """Takes what the two parts are drawn from.

        Args:
          points: over the tiles' points.
          images: over the images.
          num_classes: C.
          class_uniform_share: share of an epoch that is drawn from the classes (VPLR: 0.5).
        """
        self._points, self._images = points, images
        self._num_classes, self._share = num_classes, class_uniform_share

    def plan(self, epoch: int, seed: int, num_samples: int) -> np.ndarray:
        """The samples of one epoch in random order; depends on the arguments alone.

        Returns:
          Array of PLAN_DTYPE, shape [num_samples]; `klass` is -1 for whole images.
        """
        rng = plans.generator(epoch, seed)
        per_class = int(num_samples * self._share / self._num_classes)
        uniform = self._points.draw(rng, per_class * self._points.num_present)
        anywhere = self._images.draw(rng, num_samples - len(uniform))
        return plans.concatenate([uniform, anywhere])[rng.permutation(num_samples)]
