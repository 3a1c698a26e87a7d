"""Prepares BDD100K's semantic segmentation: Cityscapes' 19 classes as trainIds, 255 is void.

Both layouts: `images/10k` and `labels/sem_seg/masks`, or the older `seg/images` and `seg/labels`. Splits: train and val
with masks, test without where it is there.

  python -m data_prep.bdd100k --source_dir=bdd100k --data_dir=DIR
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from csst_jax.data.descriptions import BDD100K
from data_prep import cli, raw
from data_prep.label_map import LabelMap
from data_prep.problems import Problems

LABELS = LabelMap.identity(len(BDD100K.classes))

_LAYOUTS = {  # directory of images: directory of masks, what follows the id in a mask's name
    "images/10k": ("labels/sem_seg/masks", ".png"),
    "seg/images": ("seg/labels", "_train_id.png"),
}


def read(source_dir: pathlib.Path) -> raw.RawDataSet:
    """The pairs of every split; ids are the images' names.

    Raises:
      CsstError: neither layout is there.
    """
    parents = ("", "bdd100k")
    below = [str(pathlib.PurePosixPath(parent, layout)) for parent in parents for layout in _LAYOUTS]
    images = raw.directory(source_dir, *below)
    masks, ending = _LAYOUTS["/".join(images.parts[-2:])]

    def pairs(split: str, labelled: bool) -> list[raw.RawPair]:
        directory = images.parent.parent / masks / split
        return [
            raw.RawPair(path.stem, path, directory / f"{path.stem}{ending}" if labelled else None)
            for path in (images / split).glob("*.jpg")
        ]

    splits = {split: pairs(split, labelled=True) for split in ("train", "val")}
    if test := pairs("test", labelled=False):
        splits["test"] = test
    return raw.RawDataSet(BDD100K, LABELS, splits)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    flags = cli.dataset_parser(__doc__, "directory with images/10k/ and labels/, or with seg/").parse_args(argv)
    cli.prepare(read(pathlib.Path(flags.source_dir)), flags, Problems())


if __name__ == "__main__":
    cli.run(main)
