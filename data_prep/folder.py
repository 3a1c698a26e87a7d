"""Prepares your own images: a directory of images and one with masks for some of them.

An image belongs to the mask of the same name (sub-directories count; the suffixes may differ). Images with a mask are
labelled; the others, and all images of --unlabelled, are the unlabelled pool. Validation images are drawn from the
labelled ones by --val_fraction and --seed, or listed in --val_list.

Images are PNG, JPEG, TIFF, WebP or BMP of any size, and are turned upright as their EXIF tags say. Masks are PNGs, in a
directory of their own or beside the images: --mask_suffix=_mask pairs IMAGE.jpg with IMAGE_mask.png. They are
single-channel ones of class numbers (grey, or with a palette, whose colours do not matter), or RGB ones in the colours
of --classes: a list with commas, or a YAML or JSON file:

  classes:
    - road                                   # value 0 in masks: its place in the list
    - {name: car, color: [0, 0, 142]}        # value 1; or this colour
    - {name: person, values: [24, 25]}       # other values than its place, for every class or none
  void: {values: [0, 34], colors: [[0, 0, 0]]}

  python -m data_prep.folder --images=DIR --masks=DIR --classes=road,car,person --data_dir=DIR --name=mine
"""

from __future__ import annotations

import argparse
import pathlib
import re
from collections.abc import Collection, Sequence

import numpy as np

from csst_jax.data.id_lists import IdList
from csst_jax.types import CsstError
from csst_jax.user_files import read_text
from data_prep import classes, cli, raw, validation_size
from data_prep.folder_files import find_images, find_masks, find_more
from data_prep.palette import compare_palettes
from data_prep.problems import Problems
from data_prep.roles import check_contents


def draw_val(labelled: Sequence[str], fraction: float, seed: int) -> set[str]:
    """Validation ids drawn from the labelled ones: at least one, and at least one is left for training.

    Raises:
      CsstError: fewer than two labelled images, or a fraction outside (0, 1).
    """
    if not 0.0 < fraction < 1.0:
        raise CsstError(f"--val_fraction={fraction} must lie between 0 and 1.")
    if len(labelled) < 2:
        raise CsstError(f"{len(labelled)} labelled images; at least 2 are needed, one to train and one to validate.")
    count = min(max(round(fraction * len(labelled)), 1), len(labelled) - 1)
    chosen = np.random.default_rng(seed).choice(len(labelled), count, replace=False)
    return {sorted(labelled)[position] for position in chosen}


def listed_val(path: pathlib.Path, images: Collection[str], masks: Collection[str], problems: Problems) -> set[str]:
    """Validation ids of a list file (see `csst_jax.data.id_lists`); each must have a mask."""
    try:
        lines = read_text(path, "one id a line (--val_list)").splitlines()
        chosen = IdList(images, masks).find(lines, f"--val_list={path}")
    except CsstError as error:
        problems.add(str(error))
        return set()
    for image_id in sorted(chosen - set(masks)):
        problems.add(f"--val_list={path}: {image_id!r} has no mask; a validation image needs one.")
    return chosen & set(masks)


def _arguments() -> argparse.ArgumentParser:
    arguments = cli.parser(__doc__)
    arguments.add_argument("--images", type=cli.path, required=True, help="directory of images")
    arguments.add_argument("--masks", type=cli.path, required=True, help="directory of masks for some of them")
    arguments.add_argument(
        "--mask_suffix", default="", help="what names of masks have behind the name of the image, for instance _mask"
    )
    arguments.add_argument("--unlabelled", type=cli.path, help="directory of more images, which have no masks")
    arguments.add_argument("--classes", required=True, help="names with commas, or a YAML or JSON file")
    arguments.add_argument("--name", required=True, help="name of the data set")
    arguments.add_argument(
        "--void", type=int, nargs="*", default=[], help="mask values to ignore, beside 255 and those of the file"
    )
    arguments.add_argument("--val_fraction", type=float, default=0.2, help="share of the labelled images (default 0.2)")
    arguments.add_argument("--seed", type=int, default=0, help="draws the validation images (default 0)")
    arguments.add_argument("--val_list", type=cli.path, help="file of validation ids, instead of drawing them")
    cli.add_files_arguments(arguments)
    return arguments


def read(flags: argparse.Namespace, problems: Problems) -> dict[str, list[raw.RawPair]]:
    """The pairs of train and val.

    Raises:
      CsstError: a directory is missing, or too little is labelled.
    """
    images = find_images(flags, problems)
    masks = find_masks(flags, images, problems)
    problems.raise_if_any()
    drawn = None if flags.val_list else draw_val([*masks], flags.val_fraction, flags.seed)
    val = listed_val(flags.val_list, images, masks, problems) if drawn is None else drawn
    train = [raw.RawPair(i, path, masks.get(i)) for i, path in images.items() if i not in val]
    if not any(pair.mask for pair in train):
        problems.add("no labelled image is left for training; give fewer validation images or more masks.")
    if flags.unlabelled:
        more = find_more(flags, [*images.values(), *masks.values()], problems)
        # Cameras number their files alike: the same name need not be the same image.
        train += [raw.RawPair(f"unlabelled/{i}", path, None) for i, path in more.items()]
    return {"train": train, "val": [raw.RawPair(i, images[i], masks[i]) for i in val]}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    flags = _arguments().parse_args(argv)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", flags.name):
        raise CsstError(f"--name={flags.name} must be lower-case letters, digits and _, starting with a letter.")
    if flags.seed < 0:
        raise CsstError(f"--seed={flags.seed} must be 0 or more.")
    description, labels = classes.read(flags.classes, flags.name, flags.void)
    problems = Problems()
    splits = read(flags, problems)
    check_contents(splits, problems)
    validation_size.tell(len(splits["val"]))
    compare_palettes([pair for pairs in splits.values() for pair in pairs], labels, problems)
    cli.prepare(raw.RawDataSet(description, labels, splits), flags, problems)


if __name__ == "__main__":
    cli.run(main)
