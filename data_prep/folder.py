r"""Prepares your own images: a directory of images and one with masks for some of them.

An image belongs to the mask of the same name (sub-directories count; the suffixes may differ). Images with a mask are
labelled; the others, and all images of --unlabelled, are the unlabelled pool. Validation images are chosen from the
labelled ones by a hash of their names (--val_fraction, --seed), or listed in --val_list. Frames of one scene belong in
one split: --group_by='^(scene\d+)_' keeps all of scene12_…, --group_by='^(.+)/' all images of a sub-directory.

With more masks or images later, run the same command again: it says what is new, and every image keeps its split.
Without --overwrite it removes nothing from a prepared data set.

Images are PNG, JPEG, TIFF, WebP or BMP of any size, and are turned upright as their EXIF tags say. Masks are PNGs, in a
directory of their own or beside the images: --mask_suffix=_mask pairs IMAGE.jpg with IMAGE_mask.png. A mask holds class
numbers in a single channel (grey, or with a palette), or the colours of the classes. --classes is a list with commas,
or a YAML or JSON file. The colours of a palette count only if the file gives colours and no values:

  classes:                                   # by value: the place in the list, or
    - {name: road, values: [7]}
    - {name: plant, values: [21, 22]}        # several values that are one class
  void: {values: [0, 34]}

  classes:                                   # by colour; pictures show the first one
    - {name: road, color: [128, 64, 128]}
    - {name: plant, colors: [[107, 142, 35], [152, 251, 152]]}
  void: {colors: [[0, 0, 0]]}

A colour can be a text such as '#804080', too, and the keys can be spelt colour and colours.

  python -m data_prep.folder --images=DIR --masks=DIR --classes=road,car,person --data_dir=DIR --name=mine
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import re
from collections.abc import Collection, Mapping, Sequence

from csst_jax.arguments import Parser
from csst_jax.data.readiness import listed
from csst_jax.types import CsstError
from data_prep import classes, cli, growth, photo_size, raw, validation_size, workspace
from data_prep.folder_files import find_images, find_masks, find_more
from data_prep.held_out import draw_val, groups_of, listed_val, tell_directories
from data_prep.palette import compare_palettes
from data_prep.problems import Problems
from data_prep.roles import check_contents


def _arguments() -> Parser:
    arguments = cli.parser(__doc__)
    arguments.add_argument("--images", type=cli.path, required=True, help="directory of images")
    arguments.add_argument("--masks", type=cli.path, required=True, help="directory of masks for some of them")
    arguments.add_argument(
        "--mask_suffix", default="", help="what the name of a mask has after the name of its image, such as _mask"
    )
    arguments.add_argument("--unlabelled", type=cli.path, help="directory of more images, which have no masks")
    arguments.add_argument("--classes", required=True, help="names, separated by commas, or a YAML or JSON file")
    arguments.add_argument("--name", required=True, help="name of the data set")
    arguments.add_argument(
        "--void",
        type=cli.whole_numbers,
        nargs="*",
        default=[],
        help="mask values that are void, beside 255 and those of the classes file: 11,12",
    )
    arguments.add_argument(
        "--val_fraction", type=float, default=0.2, help="share of the masks that validate (default 0.2)"
    )
    arguments.add_argument(
        "--seed", type=int, default=0, help="seed of the hash that chooses validation images (default 0)"
    )
    arguments.add_argument("--val_list", type=cli.path, help="file of validation ids, one per line; replaces the hash")
    arguments.add_argument(
        "--split_of", type=cli.path, help="a prepared data set of the same images, whose split is kept in this one"
    )
    arguments.add_argument(
        "--group_by", default="", help="a regular expression: images in which it finds the same text stay in one split"
    )
    arguments.add_argument(
        "--longest_side",
        type=int,
        default=0,
        help="larger images and their masks are made smaller, to a longer side of so many pixels; 0 = none (default)",
    )
    cli.add_output_arguments(arguments)
    arguments.set_defaults(splits="")  # all: images of one split alone would lose the others'
    return arguments


def read(
    flags: argparse.Namespace,
    problems: Problems,
    earlier: Mapping[str, str] | None = None,
    there: growth.Earlier | None = None,
) -> dict[str, list[raw.RawPair]]:
    """The pairs of train and val.

    Args:
      flags: the command's.
      problems: gets what is wrong with files.
      earlier: the split of each image whose split is kept, by its id.
      there: the data set of this name, unless it is replaced.

    Raises:
      CsstError: a directory is missing, too little is labelled, or the images are others than those that are there.
    """
    images = find_images(flags, problems)
    masks = find_masks(flags, images, problems)
    problems.raise_if_any()
    more = find_more(flags, [*images.values(), *masks.values()], problems) if flags.unlabelled else {}
    if there:
        growth.require_same_images(there, [*images, *(growth.POOL + i for i in more)])
    roles = growth.known(earlier, images) if earlier else None
    groups = groups_of(images, flags.group_by)
    test = growth.of_test_scenes(groups, roles or {})
    images, masks = ({i: path for i, path in paths.items() if i not in test} for paths in (images, masks))
    if not (flags.val_list or flags.group_by or earlier):
        tell_directories(images)
    drawn = None if flags.val_list else draw_val([*masks], flags.val_fraction, flags.seed, roles, groups)
    val = listed_val(flags.val_list, images, masks, problems) if drawn is None else drawn
    scenes = {groups[i]: "test" if i in test else "validate" for i in test | val} if flags.group_by else {}
    left_out = _of_scenes([i for i in images if i not in masks], groups, scenes, roles or {})
    others = val | left_out
    train = [raw.RawPair(i, path, masks.get(i)) for i, path in images.items() if i not in others]
    if not any(pair.mask for pair in train):
        problems.add("no labelled image is left for training; give fewer validation images or more masks.")
    if flags.unlabelled:
        known = {i for i in more if growth.POOL + i in (earlier or {})}
        left_out = _of_scenes(more, groups_of(more, flags.group_by, everywhere=False), scenes, known)
        # Cameras number their files alike: the same name need not be the same image.
        train += [raw.RawPair(growth.POOL + i, path, None) for i, path in more.items() if i not in left_out]
    return {"train": train, "val": [raw.RawPair(i, images[i], masks[i]) for i in val]}


def _of_scenes(
    images: Collection[str], groups: Mapping[str, str], scenes: Mapping[str, str], roles: Collection[str]
) -> set[str]:
    """Images without a mask that would show a scene of validation or test to the student; says how many."""
    left_out = {i for i in images if groups.get(i) in scenes and i not in roles}
    if left_out:
        why = " or ".join(sorted({scenes[groups[i]] for i in left_out}, reverse=True))
        print(
            f"{len(left_out)} images without a mask are left out, as their scenes {why} (--group_by): "
            f"{listed(sorted(left_out))}"
        )
    return left_out


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    flags = _arguments().parse_args(argv)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", flags.name):
        raise CsstError(f"--name={flags.name} must be lower-case letters, digits and _, starting with a letter.")
    if flags.group_by and flags.val_list:
        raise CsstError("--val_list names the validation images, and --group_by draws them; give one of the two.")
    if flags.seed < 0:
        raise CsstError(f"--seed={flags.seed} must be 0 or more.")
    if flags.longest_side < 0:
        raise CsstError(f"--longest_side={flags.longest_side} must be 0 or more.")
    description, labels = classes.read(flags.classes, flags.name, [*itertools.chain(*flags.void)])
    description = dataclasses.replace(description, longest_side=flags.longest_side)

    from data_prep import builder  # TFDS takes half a second to import, which --help need not wait for

    directory = builder.version_directory(flags.data_dir, flags.name)
    workspace.restore(directory)
    before, problems = growth.earlier(directory, flags.overwrite), Problems()
    earlier = growth.splits_of(flags.split_of) if flags.split_of else {}
    if before:
        earlier |= {i: split for i, split in before.splits.items() if earlier.get(i) != growth.TEST}
    splits = read(flags, problems, earlier, None if flags.overwrite else before)
    check_contents(splits, problems)
    if not flags.longest_side:
        photo_size.tell(pair.image for pairs in splits.values() for pair in pairs)
    validation_size.tell(len(splits["val"]))
    compare_palettes([pair for pairs in splits.values() for pair in pairs], labels, problems)
    problems.raise_if_any()
    if before:
        if not flags.overwrite:
            growth.require_nothing_lost(before, description, splits)
        growth.tell_kept(flags.name, before, splits)
        flags.overwrite = True
    cli.prepare(raw.RawDataSet(description, labels, splits), flags, problems)
    if before:
        growth.tell_new(flags.name, before, growth.read(directory))


if __name__ == "__main__":
    cli.run(main)
