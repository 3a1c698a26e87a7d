"""Draws the label fractions of a data set: which training images keep their masks.

Every drive (the recording an image comes from) gives its share by largest remainder, evenly spaced over the drive's
time from a random offset. Smaller fractions are drawn from larger ones: 1_8 lies within 1_4 within 1_2. Labels are not
looked at, except to warn at the end if a fraction misses a class. The lists, one id a line, are kept in the repository.

  python -m data_prep.splits camvid --source_dir=DIR      from the raw data set
  python -m data_prep.splits camvid --data_dir=DIR        from the prepared one
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from csst_jax.data.descriptions import CAMVID
from csst_jax.data.store import DataSet
from csst_jax.types import CsstError
from data_prep import camvid, cli, raw
from data_prep.problems import Problems

FRACTIONS = {"1_2": 2, "1_4": 4, "1_8": 8}
"""File stem and denominator, from the largest fraction to the smallest."""

DEFAULT_OUTPUT_DIR = pathlib.Path(__file__).parent / "splits"


def _camvid_drive(image_id: str) -> str:
    return image_id.split("_")[0]  # 0001TP_006690, 0006R0_f00930, 0016E5_00390, Seq05VD_f00000


DRIVES: dict[str, Callable[[str], str]] = {CAMVID.name: _camvid_drive}
"""For each data set, the function that tells which recording an id belongs to."""


def allot(sizes: Sequence[int], total: int) -> list[int]:
    """Shares of `total` proportional to `sizes`, by largest remainder; they add up to `total`."""
    exact = np.array(sizes) * total / sum(sizes)
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
    """Writes one id a line, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_text("".join(f"{image_id}\n" for image_id in ids), encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _classes_by_id_raw(source_dir: pathlib.Path) -> dict[str, frozenset[int]]:
    """Which classes each training mask of the raw CamVid holds."""
    problems = Problems()
    pairs = camvid.read_splits(source_dir, problems)["train"]
    problems.raise_if_any()
    examples = raw.read_examples(pairs, len(CAMVID.classes), problems, void=camvid.VOID)
    classes = {example.id: frozenset(np.unique(example.label).tolist()) for example in examples}
    problems.raise_if_any()
    return classes


def _classes_by_id_prepared(data_dir: pathlib.Path) -> dict[str, frozenset[int]]:
    """Which classes each labelled training image of the prepared data set holds."""
    data_set = DataSet.open(data_dir)
    index = data_set.centroids("train")
    labelled = frozenset(data_set.labelled_ids("train"))
    return {
        image_id: frozenset(index.klass[index.record == record].tolist())
        for record, image_id in enumerate(index.ids)
        if image_id in labelled
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    arguments = cli.parser(__doc__)
    arguments.add_argument("dataset", choices=sorted(DRIVES))
    source = arguments.add_mutually_exclusive_group(required=True)
    source.add_argument("--source_dir", type=pathlib.Path, help="directory of the raw data set")
    source.add_argument("--data_dir", type=pathlib.Path, help="directory of the prepared data set")
    arguments.add_argument(
        "--output_dir", type=pathlib.Path, default=DEFAULT_OUTPUT_DIR, help="default: the repository's"
    )
    arguments.add_argument("--seed", type=int, default=0, help="the lists in the repository are of seed 0")
    flags = arguments.parse_args(argv)
    if flags.seed < 0:
        raise CsstError(f"--seed={flags.seed} must be 0 or more.")

    classes = _classes_by_id_raw(flags.source_dir) if flags.source_dir else _classes_by_id_prepared(flags.data_dir)
    for name, ids in draw(tuple(classes), DRIVES[flags.dataset], flags.seed).items():
        path = flags.output_dir / flags.dataset / f"{name}.txt"
        write_list(path, ids)
        present = frozenset().union(*(classes[image_id] for image_id in ids))
        missing = [label for value, label in enumerate(CAMVID.classes) if value not in present]
        warning = f"; warning: no pixel of {', '.join(missing)}" if missing else ""
        print(f"{path}: {len(ids)} of {len(classes)} images{warning}")


if __name__ == "__main__":
    cli.run(main)
