"""Prepares PASCAL VOC 2012, and the further images of the augmented list as unlabelled pool.

Split train has the 1,464 images of the challenge with masks. With --sbd_dir (the Semantic Boundaries Dataset as
released) or --aug_list (a list of ids such as trainaug.txt) the 9,118 listed images that are neither in train nor in
val are in train as well. They have no masks, as in the paper (§4.1). With --aug_masks they keep theirs (`cls/*.mat` of
SBD, or SegmentationClassAug/*.png beside SegmentationClass).

  python -m data_prep.voc2012 --source_dir=VOCdevkit/VOC2012 --sbd_dir=benchmark_RELEASE/dataset --data_dir=DIR
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from csst_jax.data.descriptions import VOC2012
from csst_jax.types import CsstError
from data_prep import cli, raw
from data_prep.label_map import LabelMap
from data_prep.problems import Problems, read_list

LABELS = LabelMap.identity(len(VOC2012.classes))


def read(
    source_dir: pathlib.Path,
    problems: Problems,
    sbd_dir: pathlib.Path | None = None,
    aug_list: pathlib.Path | None = None,
    aug_masks: bool = False,
) -> raw.RawDataSet:
    """The pairs of train and val, and of test where it is there; see the module's docstring for the others.

    Raises:
      CsstError: a directory is missing.
    """
    root = raw.directory(source_dir, "ImageSets/Segmentation", "VOC2012/ImageSets/Segmentation").parent.parent

    def ids(path: pathlib.Path) -> list[str]:
        return [pathlib.PurePosixPath(words[0]).stem for words in read_list(path, problems)]

    def image(image_id: str) -> pathlib.Path:
        return root / "JPEGImages" / f"{image_id}.jpg"

    lists = root / "ImageSets" / "Segmentation"
    splits = {
        split: [
            raw.RawPair(image_id, image(image_id), root / "SegmentationClass" / f"{image_id}.png")
            for image_id in ids(lists / f"{split}.txt")
        ]
        for split in ("train", "val")
    }
    if (lists / "test.txt").is_file():
        splits["test"] = [raw.RawPair(image_id, image(image_id), None) for image_id in ids(lists / "test.txt")]

    further: list[str] = []
    masks, suffix = root / "SegmentationClassAug", ".png"
    if sbd_dir is not None:
        masks, suffix = raw.directory(sbd_dir, "cls", flag="--sbd_dir"), ".mat"
        further = [*ids(sbd_dir / "train.txt"), *ids(sbd_dir / "val.txt")]
    elif aug_list is not None:
        further = ids(aug_list)
    official = {pair.id for split in ("train", "val") for pair in splits[split]}
    splits["train"] += [
        raw.RawPair(image_id, image(image_id), masks / f"{image_id}{suffix}" if aug_masks else None)
        for image_id in sorted(set(further) - official)
    ]
    return raw.RawDataSet(VOC2012, LABELS, splits)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    arguments = cli.dataset_parser(__doc__, "VOCdevkit/VOC2012")
    further = arguments.add_mutually_exclusive_group()
    further.add_argument("--sbd_dir", type=cli.path, help="directory with SBD's train.txt, val.txt and cls/")
    further.add_argument("--aug_list", type=cli.path, help="file of the ids of further images, one per line")
    arguments.add_argument("--aug_masks", action="store_true", help="the further images keep their masks")
    flags = arguments.parse_args(argv)
    if flags.aug_masks and not (flags.sbd_dir or flags.aug_list):
        raise CsstError("--aug_masks belongs to further images; name them with --sbd_dir or --aug_list.")
    problems = Problems()
    source_dir = pathlib.Path(flags.source_dir)
    cli.prepare(read(source_dir, problems, flags.sbd_dir, flags.aug_list, flags.aug_masks), flags, problems)


if __name__ == "__main__":
    cli.run(main)
