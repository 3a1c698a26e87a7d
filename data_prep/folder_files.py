"""Which files of a user's directories are images, which are masks; the directories may lie in each other or be one."""

from __future__ import annotations

import argparse
import collections
import os
import pathlib
import re
import shlex
import sys
from collections.abc import Collection, Mapping
from typing import NoReturn

from csst_jax.data.picture_file import IMAGE_SUFFIXES, KEPT_SUFFIXES, MASK_SUFFIXES, Bad, read_mask
from csst_jax.data.readiness import listed
from csst_jax.user_files import same_name
from data_prep.found_files import find_files, place
from data_prep.problems import Problems

_OTHER_PICTURES = (".gif", ".jp2", ".ppm", ".pgm", ".tga", ".avif", ".heic")
_OF_PHONES = (".heic", ".heif", ".avif")
_ENDINGS = tuple(f"{joint}{word}" for joint in "_-." for word in ("mask", "masks", "label", "labels", "seg", "gt"))


def find_images(flags: argparse.Namespace, problems: Problems) -> dict[str, pathlib.Path]:
    """The images of --images by id; not those below a directory of masks or of more images that lies in it.

    Raises:
      CsstError: the directory is missing.
    """
    inner = _inside(flags.images, flags.masks, flags.unlabelled)

    def judge(path: pathlib.Path) -> str | None:
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            return _no_image(path)
        named_as_mask = flags.mask_suffix and same_name(path.stem).endswith(same_name(flags.mask_suffix))
        if named_as_mask and flags.masks.resolve() in place(path).parents:
            return None if path.suffix.lower() in MASK_SUFFIXES else _no_mask(path)
        return None if inner & {*place(path).parents} else ""

    images = find_files(flags.images, "--images", judge, problems)
    if not images:
        problems.add(f"--images={flags.images} holds no {' or '.join(IMAGE_SUFFIXES)} file.")
    _tell_converted("--images", images)
    behind = [(image_id, ending) for image_id in images for ending in _ENDINGS if image_id.endswith(ending)]
    suspect = [image_id for image_id, ending in behind if image_id.removesuffix(ending) in images]
    if suspect:
        print(
            f"warning: --images={flags.images}: {len(suspect)} images have the name of another with a word for masks "
            f"after it: {listed(suspect)}. If they are masks, save them as PNG and give --mask_suffix.",
            file=sys.stderr,
        )
    return images


def _no_image(path: pathlib.Path) -> str:
    if path.suffix.lower() in _OF_PHONES:
        return f"{path.suffix.lower()[1:].upper()} photos are not read; export them as JPEG"
    return f"not {' or '.join(IMAGE_SUFFIXES)}"


def _inside(directory: pathlib.Path, *others: pathlib.Path | None) -> set[pathlib.Path]:
    """Those of the others that can lie in a directory, by a link or not: not itself, and not above it."""
    top = directory.resolve()
    return {other.resolve() for other in others if other} - {top, *top.parents}


def _tell_converted(flag: str, images: Mapping[str, pathlib.Path]) -> None:
    suffixes = collections.Counter(path.suffix.lower() for path in images.values())
    others = ", ".join(f"{suffixes[suffix]} {suffix}" for suffix in sorted(suffixes) if suffix not in KEPT_SUFFIXES)
    if others:
        print(f"{flag}: images that are stored as PNG: {others}")


def find_masks(
    flags: argparse.Namespace, images: Mapping[str, pathlib.Path], problems: Problems
) -> dict[str, pathlib.Path]:
    """The masks of --masks by the id of their image; masks of another format than PNG are problems.

    Raises:
      CsstError: the directory is missing.
    """
    # os.path's takes any text, pathlib's raises where a list of names begins with `~`.
    used = {path.resolve() for path in (*images.values(), pathlib.Path(os.path.expanduser(flags.classes)))}
    inner = _inside(flags.masks, flags.images)

    def judge(path: pathlib.Path) -> str | None:
        if inner & {*place(path).parents}:
            return None
        if path.suffix.lower() not in MASK_SUFFIXES:
            if path.suffix.lower() in (*IMAGE_SUFFIXES, *_OTHER_PICTURES) and path.resolve() not in used:
                return _no_mask(path)
            return None if path.resolve() in used else f"not {' or '.join(MASK_SUFFIXES)}"
        if not _ends_as_mask(path, flags):
            return None if path.resolve() in used else f"names do not end in {flags.mask_suffix}"
        return ""

    masks = find_files(flags.masks, "--masks", judge, problems, same_name(flags.mask_suffix))
    if not masks:
        problems.add(f"--masks={flags.masks} holds no *{flags.mask_suffix}.png file.")
    by_letters = {image_id.casefold(): path for image_id, path in images.items()}
    by_name = {path.stem: path for path in images.values()}
    for image_id in sorted(set(masks) - set(images)):
        fix = "add the image or remove the mask."
        if near := by_letters.get(image_id.casefold()):
            fix = f"is {near} its image? Give both the same capitals."
        elif near := by_name.get(pathlib.PurePosixPath(image_id).name):
            fix = f"is {near} its image? Put both into sub-directories of the same name."
        elif found := _without_word(image_id, images):
            near, how = found
            fix = f"is {near} its image? {how}"
        problems.add(f"{masks[image_id]}: mask without an image in {flags.images}; {fix}")
    return masks


def _without_word(mask_id: str, images: Mapping[str, pathlib.Path]) -> tuple[pathlib.Path, str] | None:
    """The image of a mask that has a word more in its name, and what to do; no number, which tells other images."""
    folder, slash, name = mask_id.rpartition("/")
    for joint in re.finditer(r"[-_. ]", name):
        before, after = name[: joint.start()], name[joint.start() :]
        if (image := images.get(folder + slash + before)) and not re.search(r"\d", after):
            return image, f"Give --mask_suffix={shlex.quote(after)}."
        if (image := images.get(folder + slash + after[1:])) and not re.search(r"\d", before):
            return image, f"Call the mask {after[1:]}.png."
    return None


def _no_mask(path: pathlib.Path) -> NoReturn:
    read_mask(path)  # says why it cannot be one
    raise Bad(f"{path}: a PNG by its content; call it {path.stem}.png.")


def _ends_as_mask(path: pathlib.Path, flags: argparse.Namespace) -> bool:
    return path.suffix.lower() in MASK_SUFFIXES and same_name(path.stem).endswith(same_name(flags.mask_suffix))


def find_more(flags: argparse.Namespace, used: Collection[pathlib.Path], problems: Problems) -> dict[str, pathlib.Path]:
    """The images of --unlabelled by id, without those that are used already.

    Raises:
      CsstError: the directory is missing.
    """
    known = {path.resolve() for path in used}

    def judge(path: pathlib.Path) -> str | None:
        if path.resolve() in known:
            return "in --images or --masks already"
        return "" if path.suffix.lower() in IMAGE_SUFFIXES else _no_image(path)

    more = find_files(flags.unlabelled, "--unlabelled", judge, problems)
    if not more:
        kinds = " or ".join(IMAGE_SUFFIXES)
        problems.add(f"--unlabelled={flags.unlabelled} holds no {kinds} file that --images and --masks do not hold.")
    _tell_converted("--unlabelled", more)
    return more
