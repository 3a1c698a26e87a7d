"""Prepares CamVid, in the layout of the SegNet tutorial or of the original release.

SegNet tutorial (480x360 pixels; data set `camvid`): a line of `train.txt`, `val.txt` and, if you have it,
`test.txt` names an image and its mask. Only the last two parts of a path count, so lists with other directories in
front (`/SegNet/CamVid/train/x.png`) work as well. Masks are single-channel PNGs with classes 0 to 10; 11 is void.

Original release (960x720 pixels; data set `camvid_full`): 701_StillsRaw_full/*.png and LabeledApproved_full/*_L.png in
32 colours, which become the same 11 classes (`ORIGINAL`); the splits are the tutorial's 367, 101 and 233 images.

  python -m data_prep.camvid --source_dir=DIR --data_dir=DIR

With --part, a data set of its own is made of some drives, without the test split:

  target:0001TP     the first half of this drive's training images; its second half is val
  other:0001TP      the same with other classes: Cityscapes' seven categories
  source:0001TP     the training images of the other drives; val as it is
  held_out:0006R0   all training images except the second half of this drive, which is val: for choosing settings
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Sequence

from csst_jax.data.descriptions import CAMVID, CAMVID_FULL
from csst_jax.types import IGNORE_LABEL, CsstError, DatasetDescription
from data_prep import cli, raw
from data_prep.label_map import LabelMap
from data_prep.problems import Problems, read_list

SEGNET = LabelMap.identity(len(CAMVID.classes), void=(11,))

# Papers differ in what they do with the 21 names beyond the eleven. This is SegNet's grouping as MATLAB's example
# documents it: everything but Void belongs to a class.
_ORIGINAL = (
    ("Animal", (64, 128, 64), "Pedestrian"),
    ("Archway", (192, 0, 128), "Building"),
    ("Bicyclist", (0, 128, 192), "Bicyclist"),
    ("Bridge", (0, 128, 64), "Building"),
    ("Building", (128, 0, 0), "Building"),
    ("Car", (64, 0, 128), "Car"),
    ("CartLuggagePram", (64, 0, 192), "Pedestrian"),
    ("Child", (192, 128, 64), "Pedestrian"),
    ("Column_Pole", (192, 192, 128), "Pole"),
    ("Fence", (64, 64, 128), "Fence"),
    ("LaneMkgsDriv", (128, 0, 192), "Road"),
    ("LaneMkgsNonDriv", (192, 0, 64), "Road"),
    ("Misc_Text", (128, 128, 64), "SignSymbol"),
    ("MotorcycleScooter", (192, 0, 192), "Bicyclist"),
    ("OtherMoving", (128, 64, 64), "Car"),
    ("ParkingBlock", (64, 192, 128), "Pavement"),
    ("Pedestrian", (64, 64, 0), "Pedestrian"),
    ("Road", (128, 64, 128), "Road"),
    ("RoadShoulder", (128, 128, 192), "Pavement"),
    ("Sidewalk", (0, 0, 192), "Pavement"),
    ("SignSymbol", (192, 128, 128), "SignSymbol"),
    ("Sky", (128, 128, 128), "Sky"),
    ("SUVPickupTruck", (64, 128, 192), "Car"),
    ("TrafficCone", (0, 0, 64), "Pole"),
    ("TrafficLight", (0, 64, 64), "SignSymbol"),
    ("Train", (192, 64, 128), "Car"),
    ("Tree", (128, 128, 0), "Tree"),
    ("Truck_Bus", (192, 128, 192), "Car"),
    ("Tunnel", (64, 0, 64), "Building"),
    ("VegetationMisc", (192, 192, 0), "Tree"),
    ("Void", (0, 0, 0), None),
    ("Wall", (64, 192, 0), "Building"),
)

ORIGINAL = LabelMap(
    values={},
    colours={colour: CAMVID.classes.index(to) if to else IGNORE_LABEL for _, colour, to in _ORIGINAL},
)

_REQUIRED_SPLITS = ("train", "val")
_OPTIONAL_SPLITS = ("test",)


def list_pairs(source_dir: pathlib.Path, split: str, problems: Problems) -> list[raw.RawPair]:
    """The pairs that `<split>.txt` lists; ids are the image files' stems."""
    list_file = source_dir / f"{split}.txt"
    pairs = []
    for words in read_list(list_file, problems):
        if len(words) != 2:
            problems.add(
                f"{list_file}: line {' '.join(words)!r} has {len(words)} words; expected `image.png mask.png`."
            )
            continue
        image, mask = (source_dir.joinpath(*pathlib.PurePosixPath(word).parts[-2:]) for word in words)
        pairs.append(raw.RawPair(image.stem, image, mask))
    return pairs


def original_split(image_id: str) -> str | None:
    """The tutorial's split of an original frame, by its drive and number; None for what is no frame of CamVid.

    The first half of 0001TP is train, the second test; val is cut out of 0016E5.
    """
    frame = re.fullmatch(r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)", image_id)
    if frame is None:
        return None
    drive, number = frame[1], int(frame[2])
    if drive == "Seq05VD" or (drive == "0001TP" and number > 8520):
        return "test"
    return "val" if drive == "0016E5" and 7959 <= number <= 8159 else "train"


def read(source_dir: pathlib.Path, problems: Problems) -> raw.RawDataSet:
    """The pairs of every split, in whichever layout is there; ids are the images' names.

    Raises:
      CsstError: `source_dir` is not a directory.
    """
    images = raw.directory(source_dir) / "701_StillsRaw_full"
    splits: dict[str, list[raw.RawPair]]
    if images.is_dir():
        splits = {"train": [], "val": [], "test": []}
        for path in images.glob("*.png"):
            mask = source_dir / "LabeledApproved_full" / f"{path.stem}_L.png"
            if split := original_split(path.stem):
                splits[split].append(raw.RawPair(path.stem, path, mask))
            else:
                problems.add(f"{path}: not a frame of CamVid, so in no split; remove it, or use data_prep.folder.")
        return raw.RawDataSet(CAMVID_FULL, ORIGINAL, splits)
    there = [split for split in _OPTIONAL_SPLITS if (source_dir / f"{split}.txt").is_file()]
    splits = {split: list_pairs(source_dir, split, problems) for split in (*_REQUIRED_SPLITS, *there)}
    return raw.RawDataSet(CAMVID, SEGNET, splits)


PARTS = ("target", "other", "source", "held_out")

_CATEGORIES = {
    "flat": ("Road", "Pavement"),
    "construction": ("Building", "Fence"),
    "object": ("Pole", "SignSymbol"),
    "nature": ("Tree",),
    "sky": ("Sky",),
    "human": ("Pedestrian",),
    "vehicle": ("Car", "Bicyclist"),
}
"""Cityscapes' categories, and the classes that each holds; a bicyclist's bicycle counts here."""


def drive_of(image_id: str) -> str:
    """The drive that a frame is of."""
    return image_id.partition("_")[0]


def part(whole: raw.RawDataSet, chosen: str) -> raw.RawDataSet:
    """A data set of some drives; see the module's docstring.

    Args:
      whole: all splits.
      chosen: KIND:DRIVE, as --part has it.

    Raises:
      CsstError: an unknown kind or drive.
    """
    kind, _, drive = chosen.partition(":")
    train = sorted(whole.splits["train"], key=lambda pair: pair.id)
    own = [pair for pair in train if drive_of(pair.id) == drive]
    if kind not in PARTS or not own:
        drives = ", ".join(sorted({drive_of(pair.id) for pair in train}))
        raise CsstError(f"--part={chosen}: give KIND:DRIVE, one of {', '.join(PARTS)} and one of {drives}.")
    early, late = own[: len(own) // 2], own[len(own) // 2 :]
    halves: dict[str, Sequence[raw.RawPair]] = {"train": early, "val": late}
    kinds: dict[str, dict[str, Sequence[raw.RawPair]]] = {
        "target": halves,
        "other": halves,
        "source": {"train": [pair for pair in train if pair not in own], "val": whole.splits["val"]},
        "held_out": {"train": [pair for pair in train if pair not in late], "val": late},
    }
    description, labels = (whole.description, whole.labels) if kind != "other" else _in_categories(whole)
    name = f"{whole.description.name}_{kind}_{drive.lower()}"
    return raw.RawDataSet(dataclasses.replace(description, name=name), labels, kinds[kind])


def _in_categories(whole: raw.RawDataSet) -> tuple[DatasetDescription, LabelMap]:
    """The same masks with categories as classes, each in the colour of its first class."""
    own = whole.description
    number = {klass: k for k, klasses in enumerate(_CATEGORIES.values()) for klass in klasses}
    to = {k: number[name] for k, name in enumerate(own.classes)} | {IGNORE_LABEL: IGNORE_LABEL}
    colours = tuple(own.palette[own.classes.index(klasses[0])] for klasses in _CATEGORIES.values())
    labels = LabelMap(
        {value: to[k] for value, k in whole.labels.values.items()},
        {colour: to[k] for colour, k in whole.labels.colours.items()},
    )
    return DatasetDescription(own.name, tuple(_CATEGORIES), colours), labels


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    source_help = "directory with train.txt, val.txt and the images, or with 701_StillsRaw_full/"
    arguments = cli.dataset_parser(__doc__, source_help)
    arguments.add_argument("--part", help="KIND:DRIVE, a data set of some drives; all of CamVid by default")
    flags = arguments.parse_args(argv)
    problems = Problems()
    whole = read(pathlib.Path(flags.source_dir), problems)
    cli.prepare(part(whole, flags.part) if flags.part else whole, flags, problems)


if __name__ == "__main__":
    cli.run(main)
