"""Prepares CamVid, in the layout of the SegNet tutorial or of the original release.

SegNet tutorial (480x360 pixels; data set `camvid`): `train.txt` and `val.txt` (and `test.txt`, if it is there) list an
image and its mask a line; of each path the last two components count, so that lists which start with a foreign
directory (`/SegNet/CamVid/train/x.png`) do too. Masks are single-channel PNGs with classes 0 to 10; 11 is void.

Original release (960x720 pixels; data set `camvid_full`): 701_StillsRaw_full/*.png and LabeledApproved_full/*_L.png in
32 colours, which become the same 11 classes (`ORIGINAL`); the splits are the tutorial's 367, 101 and 233 images.

  python -m data_prep.camvid --source_dir=DIR --data_dir=DIR
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Sequence

from csst_jax.data.descriptions import CAMVID, CAMVID_FULL
from csst_jax.types import IGNORE_LABEL
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
                problems.add(f"{path}: no frame of CamVid's, so of no split; remove it, or use data_prep.folder.")
        return raw.RawDataSet(CAMVID_FULL, ORIGINAL, splits)
    there = [split for split in _OPTIONAL_SPLITS if (source_dir / f"{split}.txt").is_file()]
    splits = {split: list_pairs(source_dir, split, problems) for split in (*_REQUIRED_SPLITS, *there)}
    return raw.RawDataSet(CAMVID, SEGNET, splits)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    source_help = "directory with train.txt, val.txt and the images, or with 701_StillsRaw_full/"
    flags = cli.dataset_parser(__doc__, source_help).parse_args(argv)
    problems = Problems()
    cli.prepare(read(pathlib.Path(flags.source_dir), problems), flags, problems)


if __name__ == "__main__":
    cli.run(main)
