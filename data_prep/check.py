"""Checks a prepared data set and prints what is in it: sizes, and for each class pixels, components and images.

python -m data_prep.check --data_dir=DIR
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from csst_jax.data import encoded
from csst_jax.data.store import DataSet
from data_prep import cli


@dataclasses.dataclass(frozen=True)
class SplitStatistics:
    """What one split holds.

    Attributes:
      num_images: images with and without masks.
      num_labelled: images with a mask.
      sizes: number of images by (width, height), in pixels.
      pixel_share: float[C], share of each class in all pixels of the labelled images, void included in the total.
      num_components: int[C], connected components of each class.
      num_images_with: int[C], images that show the class.
    """

    num_images: int
    num_labelled: int
    sizes: dict[tuple[int, int], int]
    pixel_share: np.ndarray
    num_components: np.ndarray
    num_images_with: np.ndarray


def statistics(data_set: DataSet, split: str) -> SplitStatistics:
    """Counts what `split` holds; images are read to their headers only.

    Raises:
      csst_jax.data.centroid_index.StaleIndexError: the index was made from other labels than are stored.
    """
    index = data_set.centroids(split)  # checks the hash
    num_classes = len(data_set.description.classes)
    source = data_set.source(split)
    labelled = frozenset(data_set.labelled_ids(split))
    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    labelled_pixels = 0
    for record, image_id in enumerate(data_set.ids(split)):
        size = encoded.size(source.image_bytes(record))[::-1]
        sizes[size] += 1
        labelled_pixels += size[0] * size[1] if image_id in labelled else 0
    pixels = np.bincount(index.klass, weights=index.area, minlength=num_classes)
    pairs = np.unique(np.stack([index.klass, index.record]), axis=1)
    return SplitStatistics(
        num_images=len(index.ids),
        num_labelled=len(labelled),
        sizes=dict(sizes.most_common()),
        pixel_share=pixels / max(labelled_pixels, 1),
        num_components=np.bincount(index.klass, minlength=num_classes),
        num_images_with=np.bincount(pairs[0], minlength=num_classes),
    )


def _print(split: str, found: SplitStatistics, classes: Sequence[str]) -> None:
    sizes = [f"{width}x{height} ({count})" for (width, height), count in found.sizes.items()]
    more = f" and {len(sizes) - 5} other sizes" if len(sizes) > 5 else ""
    print(f"\n{split}: {found.num_images} images, {found.num_labelled} labelled; sizes {', '.join(sizes[:5])}{more}")
    column = max(map(len, (*classes, "class")))
    print(f"  {'class':{column}}  pixels %  components  images")
    for name, share, count, images in zip(
        classes, found.pixel_share, found.num_components, found.num_images_with, strict=True
    ):
        print(f"  {name:{column}}  {100 * share:8.3f}  {count:10d}  {images:6d}")
    print(f"  {'(void)':{column}}  {100 * (1 - found.pixel_share.sum()):8.3f}")
    absent = [name for name, count in zip(classes, found.num_components, strict=True) if not count]
    if absent:
        print(f"  warning: no pixel of {', '.join(absent)}: it can be neither learnt from nor measured on this split")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    arguments = cli.parser(__doc__)
    arguments.add_argument("--data_dir", type=pathlib.Path, required=True, help="directory of the prepared data set")
    flags = arguments.parse_args(argv)
    data_set = DataSet.open(flags.data_dir)
    print(f"{data_set.description.name} in {data_set.directory}")
    for split in data_set.splits:
        _print(split, statistics(data_set, split), data_set.description.classes)
    print("\nthe centroid index matches the stored labels in every split")


if __name__ == "__main__":
    cli.run(main)
