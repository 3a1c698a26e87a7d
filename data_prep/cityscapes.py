"""Prepares Cityscapes: fine masks of 19 classes, and the images of train_extra as unlabelled pool.

Splits: train and val with masks; test and train_extra without, where they are there (their coarse masks are not read).
Masks are `*_gtFine_labelIds.png` as downloaded, or `*_gtFine_labelTrainIds.png` where those are missing.

  python -m data_prep.cityscapes --source_dir=DIR --data_dir=DIR
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from csst_jax.data.descriptions import CITYSCAPES
from data_prep import cli, raw
from data_prep.label_map import LabelMap
from data_prep.problems import Problems

LABEL_IDS = LabelMap.from_official(CITYSCAPES.official_ids, void=(*range(7), 9, 10, 14, 15, 16, 18, 29, 30))
"""labelIds. The license plate's is -1: no mask of 8 bits holds it; where tools wrote it, it is 255 and void."""

TRAIN_IDS = LabelMap.identity(len(CITYSCAPES.classes))

CORRUPT = "troisdorf_000000_000073"
"""An image of train_extra that is black but for one channel."""

_IMAGE, _MASK = "_leftImg8bit.png", "_gtFine_"


def read(source_dir: pathlib.Path) -> raw.RawDataSet:
    """The images and masks below `source_dir`; ids are `<city>_<sequence>_<frame>`.

    Raises:
      CsstError: there is no leftImg8bit.
    """
    # Each archive unpacked into a directory of its own name is common, too.
    raw.directory(source_dir, "leftImg8bit", "leftImg8bit_trainvaltest/leftImg8bit")
    archives = ("", "leftImg8bit_trainvaltest", "leftImg8bit_trainextra")
    images = [source_dir / archive / "leftImg8bit" for archive in archives]
    roots = [source_dir / archive / "gtFine" for archive in ("", "gtFine_trainvaltest")]
    masks = next((root for root in roots if root.is_dir()), roots[0])
    official = any(masks.glob(f"*/*/*{_MASK}labelIds.png"))
    kind = "labelIds" if official else "labelTrainIds"

    def pairs(split: str, labelled: bool) -> list[raw.RawPair]:
        found = []
        for path in (path for root in images for path in root.glob(f"{split}/*/*{_IMAGE}")):
            image_id = path.name.removesuffix(_IMAGE)
            mask = masks / split / path.parent.name / f"{image_id}{_MASK}{kind}.png" if labelled else None
            if image_id != CORRUPT:
                found.append(raw.RawPair(image_id, path, mask))
        return found

    splits = {split: pairs(split, labelled=True) for split in ("train", "val")}
    more = {split: pairs(split, labelled=False) for split in ("test", "train_extra")}
    return raw.RawDataSet(
        CITYSCAPES,
        LABEL_IDS if official else TRAIN_IDS,
        splits | {split: found for split, found in more.items() if found},
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    flags = cli.dataset_parser(__doc__, "directory with leftImg8bit/ and gtFine/").parse_args(argv)
    cli.prepare(read(pathlib.Path(flags.source_dir)), flags, Problems())


if __name__ == "__main__":
    cli.run(main)
