"""Predicts your own images: `python -m csst_jax.predict --checkpoint=runs/mine --input=photos --output=predicted`.

The checkpoint is a workdir (it stands for its student), the directory of a finished stage, or a file of weights. Inputs
are images (PNG, JPEG, TIFF, WebP, BMP; any size; turned upright as EXIF says), videos (with PyAV), folders with their
sub-folders, and patterns in quotation marks ("photos/**/*.jpg"). No masks and no data set are needed.

Each kind that --write names is a folder in --output: overlay (the classes' colours over the photo), mask (indexed PNG
in the classes' colours), classes (grey PNG of class numbers), confidence (grey PNG, 255 for certain). images.jsonl has
a line for each image, with the area of each class; legend.png shows the colours; prediction.json has the settings. The
same command continues if it was stopped. The exit status is 1 if an image was not predicted.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from typing import TYPE_CHECKING

from csst_jax.arguments import Parser
from csst_jax.runtime.host_memory import collect_seldom, keep_freed_memory
from csst_jax.runtime.patience import to_stderr, told
from csst_jax.runtime.signals import stopped_at_once, tell_interruption
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line.

    Returns:
      The exit status: 0 if all images are predicted, 1 if some could not be, 2 if nothing could be done.
    """
    flags = _parser().parse_args(arguments)
    try:
        return _predict(flags)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _predict(flags: argparse.Namespace) -> int:
    from csst_jax.models.weights import locate
    from csst_jax.prediction import inputs, kinds, output_files, written
    from csst_jax.runtime import outputs, storage

    if storage.is_remote(flags.output):
        raise CsstError(f"--output={flags.output}: predictions are written to this machine's disks; give a directory.")
    output = pathlib.Path(outputs.directory(flags.output, "--output"))
    locate.locate(flags.checkpoint, "--checkpoint")
    wanted = kinds.chosen(flags.write)
    problems: list[str] = []
    photos = inputs.find_photos(flags.input, output_files.owned(output), problems)
    with told("importing JAX", to_stderr):  # takes a second or more: not before the flags are right
        from csst_jax.runtime import startup

        startup.quiet_libraries()
        startup.keep_programs(flags.compilation_cache_dir)
        from csst_jax.evaluation.pictures import draw_legend
        from csst_jax.evaluation.whole_image import Averaging
        from csst_jax.prediction import files
        from csst_jax.prediction.loaded import Loaded

    averaging = Averaging(flags.scales, flags.flip, flags.window_px, flags.window_overlap, flags.pad_px)
    network = Loaded(flags.checkpoint)
    if not (network.classes and network.palette):
        print(f"{flags.checkpoint} does not name its classes: their numbers stand for names, and colours are generated")
    if side := network.description.longest_side:
        print(f"the network sees each photo with a longer side of at most {side} px, as its training images")
    record = written.Written(output, wanted, written.request(network, averaging), flags.overwrite)
    left = record.left(photos)
    if len(left) < len(photos):
        print(f"{len(photos) - len(left)} of {len(photos)} inputs are predicted already")
    run = files.Run(network, averaging, record)
    run.failed += problems
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    with outputs.errors_told(output, goes_on=True), startup.lines_of_progress():
        record.begin()
        draw_legend(output / output_files.LEGEND_FILE, *network.shown_as)
        if left:
            run.predict(left)
            record.end()
    for kind in wanted:
        print(f"{kind:<10} {output / kind}")
    print(
        f"{'areas':<10} {output / output_files.IMAGES_FILE}\n{'legend':<10} {output / output_files.LEGEND_FILE}",
        flush=True,
    )
    if run.failed:
        total = len(photos) + len(problems)
        print(f"error: not predicted, and named above: {len(run.failed)} of {total}", file=sys.stderr)
    return 1 if run.failed else 0


def _parser() -> Parser:
    parser = Parser("csst_jax.predict", __doc__)
    parser.add_argument("--checkpoint", required=True, help="a workdir, a finished stage or a file of weights")
    parser.add_argument(
        "--input",
        required=True,
        nargs="+",
        action="extend",
        help="images, videos, folders, or patterns in quotation marks",
    )
    parser.add_argument("--output", required=True, help="directory to write to")
    parser.add_argument(
        "--write", default="overlay,mask", help="some of overlay, mask, classes, confidence (default overlay,mask)"
    )
    parser.add_argument(
        "--scales", type=_numbers, default=(1.0,), help="average probabilities over scales: 0.5,1,2 (default 1)"
    )
    parser.add_argument("--flip", action="store_true", help="average over the mirrored image as well")
    parser.add_argument(
        "--window_px",
        type=int,
        default=0,
        help="side of overlapping windows, for images that do not fit the memory; 0 = whole images (default)",
    )
    parser.add_argument(
        "--window_overlap", type=float, default=1 / 3, help="share of a window that its neighbour sees (default 1/3)"
    )
    parser.add_argument(
        "--pad_px",
        type=int,
        default=32,
        help="sides are padded to multiples of this, so that fewer programs are compiled; 1 = not at all (default 32)",
    )
    parser.add_argument("--overwrite", action="store_true", help="predict all images again and replace the outputs")
    parser.add_argument(
        "--compilation_cache_dir", default="~/.cache/csst_jax", help="where compiled programs are kept; empty = nowhere"
    )
    return parser


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: give numbers with commas, as 0.5,1,2") from error


if __name__ == "__main__":
    tell_interruption()
    # Names of files may hold bytes that are not UTF-8; they are printed as numbers.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    keep_freed_memory()
    collect_seldom()
    with stopped_at_once("the files that are there are complete. The same command, without --overwrite, continues."):
        sys.exit(main())
