"""Prepares your own images: a directory of images and one with masks for some of them.

An image belongs to the mask of the same name (sub-directories count; the suffixes may differ). Images with a mask are
labelled; the others are the unlabelled pool. Validation images are drawn from the labelled ones by --seed, or listed in
--val_list.
Images are PNG or JPEG of any size; masks are single-channel PNGs of class numbers.

  python -m data_prep.folder --images_dir=DIR --masks_dir=DIR --classes=road,car,person --data_dir=DIR --name=mine
"""

from __future__ import annotations

import argparse
import colorsys
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from csst_jax.types import IGNORE_LABEL, CsstError, DatasetDescription
from data_prep import cli, palettes, raw
from data_prep.problems import Problems, read_list

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_MASK_SUFFIXES = (".png",)


def distinct_palette(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Colours that differ: hues a golden angle apart, in three brightnesses by turns."""
    brightness = (0.95, 0.65, 0.4)
    colours = (
        colorsys.hsv_to_rgb(0.618034 * k % 1.0, 0.85 - 0.3 * (k % 2), brightness[k % 3]) for k in range(num_classes)
    )
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colours)


def read_classes(text: str) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    """Class names and palette of --classes: `a,b,c`, or a file of lines `name` or `name r g b` (`#` starts a comment).

    Raises:
      CsstError: the file cannot be read, a colour is not 0 to 255, some lines have colours and some not, or a name
        comes twice.
    """
    path = pathlib.Path(text)
    if not os.path.isfile(text):  # pathlib's raises where a long list makes no file name
        if "," not in text:
            raise CsstError(f"--classes={text} is neither a file nor a list with commas, like `road,car,person`.")
        names, colours = [name.strip() for name in text.split(",")], []
    else:
        problems = Problems()
        lines = [line for line in read_list(path, problems) if not line[0].startswith("#")]
        problems.raise_if_any()
        coloured = [line for line in lines if len(line) > 3 and all(re.fullmatch(r"\d+", word) for word in line[-3:])]
        if coloured and len(coloured) != len(lines):
            odd = next(line for line in lines if line not in coloured)
            raise CsstError(
                f"{path}: line {' '.join(odd)!r} has no colour `r g b` while others have; give all or none."
            )
        names = [" ".join(line[:-3] if coloured else line) for line in lines]
        colours = [(int(r), int(g), int(b)) for *_, r, g, b in coloured]
        for name, colour in zip(names, colours, strict=False):
            if max(colour) > 255:
                raise CsstError(f"{path}: colour {colour} of class {name!r} is outside 0 to 255.")
    twice = sorted({name for name in names if names.count(name) > 1 or not name})
    if twice:
        raise CsstError(f"--classes={text}: class names must be unique and not empty: {', '.join(map(repr, twice))}.")
    return tuple(names), tuple(colours) or distinct_palette(len(names))


def find_files(
    directory: pathlib.Path, suffixes: Sequence[str], flag: str, problems: Problems
) -> dict[str, pathlib.Path]:
    """Files below `directory` by id: the relative path without its suffix.

    Raises:
      CsstError: `directory` is not one; `flag` is what the user gave it with.
    """
    if not directory.is_dir():
        raise CsstError(f"{flag}={directory} is not a directory.")
    files: dict[str, pathlib.Path] = {}
    for path in sorted(directory.rglob("*")):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        image_id = path.relative_to(directory).with_suffix("").as_posix()
        if image_id in files:
            problems.add(f"duplicate id {image_id!r}: {files[image_id]} and {path}; keep one.")
        files[image_id] = path
    if not files:
        problems.add(f"{flag}={directory} holds no {' or '.join(suffixes)} file.")
    return files


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


def listed_val(path: pathlib.Path, masks: Mapping[str, pathlib.Path], problems: Problems) -> set[str]:
    """Validation ids of a list file, one id or image file name a line; each must have a mask."""
    chosen = set()
    for words in read_list(path, problems):
        entry = " ".join(words)
        known = [
            image_id
            for image_id in (entry, pathlib.PurePosixPath(entry).with_suffix("").as_posix())
            if image_id in masks
        ]
        if known:
            chosen.add(known[0])
        else:
            problems.add(f"{path}: {entry!r} has no mask; a validation image needs one.")
    return chosen


def _arguments() -> argparse.ArgumentParser:
    arguments = cli.parser(__doc__)
    arguments.add_argument("--images_dir", type=pathlib.Path, required=True)
    arguments.add_argument("--masks_dir", type=pathlib.Path, required=True)
    arguments.add_argument(
        "--classes", required=True, help="names with commas, or a file of lines `name` or `name r g b`"
    )
    arguments.add_argument("--name", required=True, help="name of the data set")
    arguments.add_argument(
        "--void", type=int, nargs="*", default=[IGNORE_LABEL], help="mask values to ignore (255 always is)"
    )
    arguments.add_argument("--val_fraction", type=float, default=0.2, help="share of the labelled images (default 0.2)")
    arguments.add_argument("--seed", type=int, default=0, help="draws the validation images (default 0)")
    arguments.add_argument("--val_list", type=pathlib.Path, help="file of validation ids, instead of drawing them")
    cli.add_output_arguments(arguments)
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    flags = _arguments().parse_args(argv)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", flags.name):
        raise CsstError(f"--name={flags.name} must be lower-case letters, digits and _, starting with a letter.")
    description = DatasetDescription(flags.name, *read_classes(flags.classes))

    from data_prep import builder  # TFDS takes half a second to import, which --help need not wait for

    problems = Problems()
    images = find_files(flags.images_dir, _IMAGE_SUFFIXES, "--images_dir", problems)
    masks = find_files(flags.masks_dir, _MASK_SUFFIXES, "--masks_dir", problems)
    for image_id in sorted(set(masks) - set(images)):
        problems.add(
            f"{masks[image_id]}: mask without an image in {flags.images_dir}; add the image or remove the mask."
        )
    problems.raise_if_any()
    val = (
        listed_val(flags.val_list, masks, problems)
        if flags.val_list
        else draw_val([*masks], flags.val_fraction, flags.seed)
    )
    pairs = {
        "train": [raw.RawPair(i, path, masks.get(i)) for i, path in images.items() if i not in val],
        "val": [raw.RawPair(i, images[i], masks[i]) for i in val],
    }
    pairs = {split: raw.check_pairs(split, members, problems) for split, members in pairs.items()}
    palettes.check([pair for members in pairs.values() for pair in members], len(description.classes), problems)
    if not any(pair.mask for pair in pairs["train"]):
        problems.add("no labelled image is left for training; give fewer validation images or more masks.")
    problems.raise_if_any()
    examples = {
        split: raw.read_examples(members, len(description.classes), problems, flags.void)
        for split, members in pairs.items()
    }
    source_sha256 = raw.source_sha256(pairs.items(), description, sorted(flags.void), flags.storage)
    builder.prepare(
        description,
        examples,
        flags.data_dir,
        source_sha256=source_sha256,
        problems=problems,
        overwrite=flags.overwrite,
        storage=flags.storage,
        num_workers=flags.num_workers,
    )


if __name__ == "__main__":
    cli.run(main)
