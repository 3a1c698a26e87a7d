"""Prepares ADE20K's scene parsing benchmark (ADEChallengeData2016): 150 classes, named by its objectInfo150.txt.

Masks hold 1 to 150 for the classes, which are stored as 0 to 149, and 0 for anything else, which is void. Splits: train
and val with masks, test without where release_test/testing is there.

  python -m data_prep.ade20k --source_dir=ADEChallengeData2016 --data_dir=DIR
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from csst_jax.data.descriptions import distinct_palette
from csst_jax.types import CsstError, DatasetDescription
from csst_jax.user_files import read_text
from data_prep import cli, raw
from data_prep.label_map import LabelMap
from data_prep.problems import Problems

NUM_CLASSES = 150


def describe(object_info: pathlib.Path) -> DatasetDescription:
    """Classes by the table of tab-separated Idx, Ratio, Train, Val, (Stuff,) Name: the first of several names each.

    Raises:
      CsstError: the file is missing or does not list 1 to 150 in order.
    """
    try:
        text = read_text(object_info, "a table of classes")
    except CsstError as error:
        raise CsstError(f"{error} It comes with ADEChallengeData2016.") from error
    rows = [line.split("\t") for line in text.splitlines()[1:] if line.strip()]
    numbers = tuple(row[0].strip() for row in rows)
    if numbers != tuple(map(str, range(1, NUM_CLASSES + 1))):
        raise CsstError(f"{object_info}: expected rows 1 to {NUM_CLASSES}, found {len(rows)}; copy the file again.")
    names = tuple(row[-1].split(",")[0].strip() for row in rows)
    return DatasetDescription("ade20k", names, distinct_palette(NUM_CLASSES), tuple(range(1, NUM_CLASSES + 1)))


def read(source_dir: pathlib.Path) -> raw.RawDataSet:
    """The pairs of every split; ids are the images' names.

    Raises:
      CsstError: the directory or its table of classes is missing.
    """
    root = raw.directory(source_dir, "images", "ADEChallengeData2016/images").parent
    description = describe(root / "objectInfo150.txt")
    splits = {
        split: [
            raw.RawPair(path.stem, path, root / "annotations" / directory / f"{path.stem}.png")
            for path in (root / "images" / directory).glob("*.jpg")
        ]
        for split, directory in (("train", "training"), ("val", "validation"))
    }
    if test := [raw.RawPair(path.stem, path, None) for path in (root / "release_test" / "testing").glob("*.jpg")]:
        splits["test"] = test
    return raw.RawDataSet(description, LabelMap.from_official(description.official_ids, void=(0,)), splits)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    flags = cli.dataset_parser(__doc__, "ADEChallengeData2016").parse_args(argv)
    cli.prepare(read(pathlib.Path(flags.source_dir)), flags, Problems())


if __name__ == "__main__":
    cli.run(main)
