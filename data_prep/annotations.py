"""Turns what annotation tools export into masks for `data_prep.folder`.

Reads COCO (JSON, instance segmentation; Roboflow's too), LabelMe (JSON), CVAT (XML, "CVAT for images 1.1") and Label
Studio (JSON): one file, or all of a directory. Writes a mask for each image that has shapes, and the list of classes.

Where shapes overlap, the smaller one counts (--overlaps=later: the one further down in the file). In CVAT, a higher
layer always counts. Pixels outside all shapes become a class `background` (--outside=void: they do not count). Images
without a shape get no mask, and stay in the unlabelled pool (--empty=background: they show background alone).

  python -m data_prep.annotations --annotations=annotations.json --images=photos --masks=masks
  python -m data_prep.folder --images=photos --masks=masks --classes=masks/classes.yaml --data_dir=data --name=mine
"""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Sequence

from csst_jax.arguments import Parser
from csst_jax.data.picture_file import IMAGE_SUFFIXES
from csst_jax.types import CsstError
from data_prep import cli
from data_prep.annotated import masks, reading, regions, written
from data_prep.found_files import find_files, place
from data_prep.problems import Problems


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    flags = _arguments().parse_args(argv)
    regions.require_pycocotools()
    problems = Problems()
    files = reading.read_all(flags.annotations, problems)
    images = find_images(flags.images, flags.masks, problems)
    void = tuple(name.strip() for name in flags.void.split(",") if name.strip())
    rule = masks.Rule(flags.outside, flags.overlaps, flags.empty == "background", flags.boxes, void)
    wanted = masks.collect(files, images, rule, problems)
    problems.raise_if_any()
    made = written.write(wanted, flags.masks, rule, flags.overwrite, problems)
    problems.raise_if_any()
    tools = ", ".join(sorted({found.tool for _, found in files}))
    print(f"{flags.annotations}: {tools}" + (f", {len(files)} files" if len(files) > 1 else ""))
    print("\n".join(made.lines()))
    given = {"images": flags.images, "masks": flags.masks, "classes": flags.masks / written.CLASSES_FILE}
    arguments = " ".join(f"--{name}={shlex.quote(str(path))}" for name, path in given.items())
    print(f"next: python -m data_prep.folder {arguments} --data_dir=data --name=mine")


def find_images(directory: pathlib.Path, made: pathlib.Path, problems: Problems) -> dict[str, pathlib.Path]:
    """The images by id, as `data_prep.folder` names them; not the masks that are written.

    Raises:
      CsstError: the directory is missing, holds none, or lies where the masks are to be written.
    """
    if made.resolve() in (directory.resolve(), *directory.resolve().parents):
        raise CsstError(
            f"--masks={made}: the images are there, or below. Give a directory of its own: a mask has its image's name."
        )

    def judge(path: pathlib.Path) -> str | None:
        known = path.suffix.lower() in IMAGE_SUFFIXES and made.resolve() not in place(path).parents
        return "" if known else None  # data_prep.folder will tell of the others

    images = find_files(directory, "--images", judge, problems)
    if not images:
        raise CsstError(f"--images={directory} holds no {' or '.join(IMAGE_SUFFIXES)} file.")
    return images


def _arguments() -> Parser:
    arguments = cli.parser(__doc__)
    arguments.add_argument("--annotations", type=cli.path, required=True, help="the exported file, or a directory")
    arguments.add_argument("--images", type=cli.path, required=True, help="directory of the images")
    arguments.add_argument("--masks", type=cli.path, required=True, help="directory to write the masks to")
    arguments.add_argument(
        "--outside",
        choices=("background", "void"),
        default="background",
        help="what pixels outside all shapes are (default background)",
    )
    arguments.add_argument(
        "--overlaps",
        choices=("smaller", "later"),
        default="smaller",
        help="which shape counts in overlaps (default smaller)",
    )
    arguments.add_argument(
        "--empty",
        choices=("unlabelled", "background"),
        default="unlabelled",
        help="what images without a shape are (default unlabelled)",
    )
    arguments.add_argument("--boxes", action="store_true", help="fill rectangles, too; without it they are left out")
    arguments.add_argument(
        "--void", default="__ignore__", help="labels whose pixels are void, separated by commas (default __ignore__)"
    )
    arguments.add_argument("--overwrite", action="store_true", help="replace masks that differ")
    return arguments


if __name__ == "__main__":
    cli.run(main)
