"""Draws few masks of a data set: the ids of 1, 2, 5 and 10 shots, each list in a file of its own.

A shot is an image, or with --per=class an image for every class: then the list has at least that many images of each
class, if the data set has them. Smaller lists lie within larger ones of the same draw. The lists, one id per line,
are OUTPUT_DIR/<name>/<draw>/<shots>.txt, for --config.data.labelled_ids. The draw is its random seed.

  python -m data_prep.shots --data_dir=DIR --output_dir=shots --draws=3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from csst_jax.data.store import DataSet
from csst_jax.types import CsstError
from data_prep import cli
from data_prep.splits import classes_by_id, write_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def of_images(ids: Sequence[str], shots: Sequence[int], seed: int) -> dict[int, list[str]]:
    """So many of the ids, by number of shots.

    Args:
      ids: of labelled images, in any order.
      shots: how many images each list has.
      seed: of the draw.

    Raises:
      CsstError: there are fewer ids than shots.
    """
    if max(shots) > len(ids):
        raise CsstError(f"--shots: {max(shots)} shots, and there are {len(ids)} masks. Give at most {len(ids)}.")
    order = np.random.default_rng(seed).permutation(sorted(ids)).tolist()
    return {count: sorted(order[:count]) for count in shots}


def of_classes(classes: Mapping[str, frozenset[int]], shots: Sequence[int], seed: int) -> dict[int, list[str]]:
    """Ids of so many images of every class, by number of shots; all images of a class that has fewer.

    Args:
      classes: those that each image holds, by id.
      shots: how many images of each class a list has at least.
      seed: of the draw.
    """
    order = np.random.default_rng(seed).permutation(sorted(classes)).tolist()
    holding: dict[int, list[str]] = {}
    for image_id in order:
        for klass in classes[image_id]:
            holding.setdefault(klass, []).append(image_id)
    drawn: set[str] = set()
    lists = {}
    for count in sorted(shots):
        # The rarest class first: its images hold others, too.
        for klass in sorted(holding, key=lambda klass: (len(holding[klass]), klass)):
            missing = count - sum(image_id in drawn for image_id in holding[klass])
            drawn.update([image_id for image_id in holding[klass] if image_id not in drawn][: max(missing, 0)])
        lists[count] = sorted(drawn)
    return lists


def drawn(data_set: DataSet, split: str, shots: Sequence[int], per: str, seed: int) -> dict[int, list[str]]:
    """The lists of one draw, by number of shots.

    Args:
      data_set: prepared.
      split: to draw from.
      shots: see `of_images` and `of_classes`.
      per: what a shot is: image or class.
      seed: of the draw.

    Raises:
      CsstError: as `of_images`.
    """
    classes = classes_by_id(data_set, split)
    return of_images(tuple(classes), shots, seed) if per == "image" else of_classes(classes, shots, seed)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    arguments = cli.parser(__doc__)
    arguments.add_argument("--data_dir", type=cli.path, required=True, help="directory of the prepared data set")
    arguments.add_argument("--output_dir", type=cli.path, required=True, help="directory of the lists")
    arguments.add_argument("--split", default="train", help="split to draw from; default: train")
    arguments.add_argument("--shots", default="1,2,5,10", help="numbers of shots; default: 1,2,5,10, as in the paper")
    arguments.add_argument("--per", choices=("image", "class"), default="image", help="what a shot is; default: image")
    arguments.add_argument("--draws", type=int, default=1, help="number of draws; default: 1")
    flags = arguments.parse_args(argv)
    shots = [int(count) if count.isdecimal() else 0 for count in flags.shots.split(",")]
    if min(shots) < 1:
        raise CsstError(f"--shots={flags.shots}: give whole numbers of at least 1, like 1,2,5,10.")
    if flags.draws < 1:
        raise CsstError(f"--draws={flags.draws} must be at least 1.")
    data_set = DataSet.open(flags.data_dir)
    have = len(data_set.labelled_ids(flags.split))
    for seed in range(flags.draws):
        for count, ids in drawn(data_set, flags.split, shots, flags.per, seed).items():
            path = flags.output_dir / data_set.description.name / str(seed) / f"{count}.txt"
            write_list(path, ids)
            print(f"{path}: {len(ids)} of {have} images")


if __name__ == "__main__":
    cli.run(main)
