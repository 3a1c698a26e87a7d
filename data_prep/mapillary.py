"""Prepares Mapillary Vistas: v1.2 (66 labels) or v2.0 (124 labels), as the release's own config names them.

Labels that the config does not evaluate (Unlabeled and the like) are void; the others are the classes, in its order.
Splits: train and val with masks, test without where it is there.

  python -m data_prep.mapillary --source_dir=DIR --version=v1.2 --data_dir=DIR
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence

from csst_jax.types import CsstError, DatasetDescription
from data_prep import cli, raw
from data_prep.label_map import LabelMap
from data_prep.problems import Problems

VERSIONS = ("v1.2", "v2.0")


def read_config(path: pathlib.Path, name: str) -> tuple[DatasetDescription, LabelMap]:
    """Classes, palette and label map of a config file: position in `labels` is the value in masks.

    Raises:
      CsstError: the file is missing or damaged.
    """
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        kept = [value for value, label in enumerate(labels) if label["evaluate"]]
        names = tuple(labels[value]["readable"] for value in kept)
        palette = tuple((int(r), int(g), int(b)) for r, g, b in (labels[value]["color"] for value in kept))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CsstError(f"{path}: no readable config ({error!r}); it comes with the images.") from error
    void = set(range(len(labels))) - set(kept)
    return DatasetDescription(name, names, palette, tuple(kept)), LabelMap.from_official(kept, void)


def read(source_dir: pathlib.Path, version: str) -> raw.RawDataSet:
    """The pairs of every split; ids are the images' names.

    Raises:
      CsstError: the directory, its config or its masks of this version are missing.
    """
    raw.directory(source_dir, "training/images")
    config = source_dir / f"config_{version}.json"
    below = f"{version}/labels"
    if version == "v1.2" and not config.is_file():  # as it was released before there was v2.0
        config, below = source_dir / "config.json", "labels"
    description, labels = read_config(config, f"mapillary_{version.replace('.', '_')}")

    def pairs(directory: pathlib.Path, labelled: bool) -> list[raw.RawPair]:
        return [
            raw.RawPair(path.stem, path, directory / below / f"{path.stem}.png" if labelled else None)
            for path in (directory / "images").glob("*.jpg")
        ]

    splits = {
        "train": pairs(source_dir / "training", labelled=True),
        "val": pairs(source_dir / "validation", labelled=True),
    }
    if test := pairs(source_dir / "testing", labelled=False):
        splits["test"] = test
    return raw.RawDataSet(description, labels, splits)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    arguments = cli.dataset_parser(__doc__, "directory with training/, validation/ and the config")
    arguments.add_argument(
        "--version", choices=VERSIONS, default=VERSIONS[0], help="version of the labels (default v1.2)"
    )
    flags = arguments.parse_args(argv)
    cli.prepare(read(pathlib.Path(flags.source_dir), flags.version), flags, Problems())


if __name__ == "__main__":
    cli.run(main)
