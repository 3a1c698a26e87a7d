"""Draws the label fractions of a data set: which training images keep their masks.

Every drive (the recording an image comes from: CamVid's drives, Cityscapes' cities) gives its share, rounded by largest
remainder. The images of a drive are evenly spaced in time, from a random offset. Smaller fractions are drawn
from larger ones: 1_16 lies within 1_8 within 1_4 within 1_2. Labels are not looked at, except to warn at the end if a
fraction misses a class. Each list, one id per line, is OUTPUT_DIR/<name>/<fraction>.txt, for
--config.data.labelled_ids. The repository has the lists of CamVid.

  python -m data_prep.splits --data_dir=DIR --seed=0
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from csst_jax.data.descriptions import CAMVID, CAMVID_FULL, CITYSCAPES
from csst_jax.data.store import DataSet
from csst_jax.runtime.storage import checkout
from csst_jax.types import CsstError
from data_prep import cli

FRACTIONS = {"1_2": 2, "1_4": 4, "1_8": 8, "1_16": 16}
"""File stem and denominator, from the largest fraction to the smallest."""

DEFAULT_OUTPUT_DIR = pathlib.Path(__file__).parent / "splits"


def _before_underscore(image_id: str) -> str:
    return image_id.split("_")[0]  # 0001TP_006690, 0006R0_f00930, Seq05VD_f00000; aachen_000000_000019


def _one_drive(image_id: str) -> str:
    del image_id
    return ""


DRIVES: dict[str, Callable[[str], str]] = dict.fromkeys(
    (CAMVID.name, CAMVID_FULL.name, CITYSCAPES.name), _before_underscore
)
"""For data sets of drives, the function that tells which one an id belongs to."""


def allot(sizes: Sequence[int], total: int) -> list[int]:
    """Shares of `total` proportional to `sizes`, by largest remainder; they add up to `total`."""
    exact = np.array(sizes) * total / max(sum(sizes), 1)
    shares = np.floor(exact).astype(int)
    by_remainder = np.argsort(shares - exact, kind="stable")
    shares[by_remainder[: total - shares.sum()]] += 1
    return shares.tolist()


def systematic(ids: Sequence[str], count: int, offset: float) -> list[str]:
    """`count` of `ids` at equal distances, the first `offset` (in [0, 1)) of a distance from the start."""
    return [ids[int((i + offset) * len(ids) / count)] for i in range(count)]


def draw(ids: Sequence[str], drive_of: Callable[[str], str], seed: int) -> dict[str, list[str]]:
    """Draws all fractions of `ids`, each list sorted.

    The size of a fraction is the number of ids divided by its denominator, rounded half up (367 gives 184, 92, 46).
    """
    rng = np.random.default_rng(seed)
    drives: dict[str, list[str]] = {}
    for image_id in sorted(ids):
        drives.setdefault(drive_of(image_id), []).append(image_id)
    fractions = {}
    for name, denominator in FRACTIONS.items():
        sizes = [len(members) for members in drives.values()]  # of the larger fraction, so that there are always enough
        counts = allot(sizes, (2 * len(ids) + denominator) // (2 * denominator))
        for (drive, members), count in zip(drives.items(), counts, strict=True):
            drives[drive] = systematic(members, count, rng.random())
        fractions[name] = sorted(image_id for members in drives.values() for image_id in members)
    return fractions


def write_list(path: pathlib.Path, ids: Sequence[str]) -> None:
    """Writes one id per line, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_text("".join(f"{image_id}\n" for image_id in ids), encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def classes_by_id(data_set: DataSet, split: str) -> dict[str, frozenset[int]]:
    """Which classes each labelled image of a split holds, by the centroid index."""
    index = data_set.centroids(split)
    labelled = frozenset(data_set.labelled_ids(split))
    return {
        image_id: frozenset(index.klass[index.record == record].tolist())
        for record, image_id in enumerate(index.ids)
        if image_id in labelled
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    arguments = cli.parser(__doc__)
    arguments.add_argument("--data_dir", type=cli.path, required=True, help="directory of the prepared data set")
    arguments.add_argument(
        "--output_dir",
        type=cli.path,
        default=DEFAULT_OUTPUT_DIR,
        help="directory of the lists (default: the repository's)",
    )
    arguments.add_argument(
        "--seed", type=int, default=0, help="seed of the draw (default 0, as in the repository's lists)"
    )
    flags = arguments.parse_args(argv)
    if flags.seed < 0:
        raise CsstError(f"--seed={flags.seed} must be 0 or more.")

    if flags.output_dir == DEFAULT_OUTPUT_DIR and checkout() is None:
        raise CsstError("the lists would go into the installed package; give --output_dir=DIR.")
    data_set = DataSet.open(flags.data_dir)
    names, name = data_set.description.classes, data_set.description.name
    classes = classes_by_id(data_set, "train")
    for fraction, ids in draw(tuple(classes), DRIVES.get(name, _one_drive), flags.seed).items():
        path = flags.output_dir / name / f"{fraction}.txt"
        if not ids:
            print(f"{path}: not written, since 1/{FRACTIONS[fraction]} of {len(classes)} images rounds to none")
            continue
        write_list(path, ids)
        present = frozenset().union(*(classes[image_id] for image_id in ids))
        missing = [label for value, label in enumerate(names) if value not in present]
        warning = f"; warning: no pixel of {', '.join(missing)}" if missing else ""
        print(f"{path}: {len(ids)} of {len(classes)} images{warning}")


if __name__ == "__main__":
    cli.run(main)
