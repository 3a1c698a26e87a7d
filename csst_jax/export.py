"""Writes a trained network for other programs: `python -m csst_jax.export --checkpoint=… --format=onnx --out=FILE`.

Formats: `onnx` for onnxruntime, TensorRT, OpenVINO and others, also in 8-bit integers; `stablehlo` for JAX without
csst_jax; `savedmodel` for TensorFlow; `pytorch` for the code base whose variant of the network was trained
(`python -m csst_jax.export_weights`).
"""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile
from typing import TYPE_CHECKING

# TensorFlow's start-up notes are noise here, as in `csst_jax.command_line`.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from csst_jax.arguments import Parser, height_and_width
from csst_jax.export_weights import TARGETS, export_weights
from csst_jax.models.weights import locate
from csst_jax.runtime import outputs
from csst_jax.runtime.patience import to_stderr, told
from csst_jax.runtime.signals import tell_interruption
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMATS = {
    "onnx": (".onnx",),
    "stablehlo": (".stablehlo",),
    "savedmodel": (".savedmodel",),
    "pytorch": (".pth", ".safetensors"),
}
"""Format -> how its files' names end."""
_MAY_LOSE = 1.0
_PAD_PX = 32
"""What `csst_jax.predict` pads to multiples of by default."""


def export(
    checkpoint: str,
    format: str,
    out: str,
    size: str | None = None,
    preprocess: bool = False,
    argmax: bool = False,
    target: str | None = None,
    tolerance: float | None = None,
    int8: str | None = None,
    int8_may_lose: float | None = None,
) -> list[str]:
    """Writes `out` and returns what there is to say about it, a sentence an entry.

    Args:
      checkpoint: a file of ours, the directory of a finished stage, or a workdir, whose student is meant.
      format: a key of `FORMATS`.
      out: file to write; its name must end as the format's do.
      size: "HEIGHTxWIDTH" of the images in pixels; for all formats but "pytorch", which need it.
      preprocess: whether the file takes uint8 RGB images and prepares them itself; for the same formats.
      argmax: whether it gives numbers of classes in place of logits; for the same formats.
      target: the code base, a key of `export_weights.TARGETS`; for "pytorch", which needs it.
      tolerance: of logits, see `agreement.require`; for "onnx" and "savedmodel".
      int8: directory of the prepared data set that gives ranges and score of a file in 8-bit integers; for "onnx".
      int8_may_lose: points of mIoU that such a file may be worse by than one in float32; 1 if None.

    Raises:
      CsstError: an argument is missing, wrong or not for this format; the weights cannot be read; a package is not
        installed; or the written file does not compute what we do, and is removed.
    """
    _check(format, out, size, target, tolerance, preprocess or argmax)
    if int8 is not None and format != "onnx":
        raise CsstError(f"--int8={int8} is for --format=onnx; leave it out.")
    if int8_may_lose is not None and int8 is None:
        raise CsstError(f"--int8_may_lose={int8_may_lose:g} is for --int8; leave it out.")
    if tolerance is not None and argmax:
        raise CsstError(f"--tolerance={tolerance:g} is for logits, and --argmax gives classes; leave one out.")
    if format == "pytorch":
        return export_weights(str(target), checkpoint, out)
    file = (outputs.directory if format == "savedmodel" else outputs.file)(out, "--out")
    pixels = height_and_width(str(size), "--size")
    locate.locate(checkpoint, "--checkpoint")
    with told("importing JAX", to_stderr):  # takes a second or more: not before the arguments are right
        from csst_jax.models.exporting import function, onnx_file, saved_model, stablehlo

        if format == "onnx":
            onnx_file.require_packages()
    with told(f"reading {checkpoint}", to_stderr):
        exported = function.load(checkpoint, pixels, preprocess, argmax)
    writing = told(f"writing {out}, and comparing what it computes", to_stderr)
    with outputs.errors_told(file):
        if format == "onnx" and int8 is not None:
            from csst_jax.prediction import int8 as integers

            integers.fitting(int8, exported.description)  # before minutes of work
            with tempfile.TemporaryDirectory(prefix="csst_jax-") as directory:
                floating = pathlib.Path(directory) / "float32.onnx"
                with writing:
                    said = onnx_file.write(floating, exported, tolerance)
                may_lose = _MAY_LOSE if int8_may_lose is None else int8_may_lose
                said += integers.write(out, floating, exported, int8, may_lose)
        elif format == "stablehlo":
            said = stablehlo.write(out, exported)
        else:
            with writing:
                write = onnx_file.write if format == "onnx" else saved_model.write
                said = write(out, exported, tolerance)
    d, (height, width) = exported.description, pixels
    shape = f"{exported.input_dtype.name} [{function.BATCH}, {height}, {width}, 3]"
    images = "RGB images as they are" if preprocess else "prepared images"
    first = f"{out}: {d.network}, {d.num_classes} classes; {images}, {shape}, to {exported.output}"
    trained = [f"computes in float32; it was trained in {d.dtype}"] if d.dtype != "float32" else []
    unknown = [] if d.classes else [f"names of the classes are not in it: {checkpoint} does not know them."]
    if d.initial:
        unknown.append(f"{len(d.initial)} arrays hold initial values ({d.initial[0]}, …): train them.")
    return [first, *said, *trained, *unknown, *_not_shrunk(height, width, d.longest_side), *_not_padded(height, width)]


def _not_shrunk(height: int, width: int, longest_side: int) -> list[str]:
    """What to say of images that are larger than those that the network learned."""
    if not 0 < longest_side < max(height, width):
        return []
    return [
        f"--size={height}x{width} is larger than the training images, whose longer side was at most {longest_side} px: "
        f"csst predict makes images as small as these. To do the same, export a size up to {longest_side} px, and make "
        "the images smaller."
    ]


def _not_padded(height: int, width: int) -> list[str]:
    """What to say of sides for which networks are not made."""
    high, wide = (-(-side // _PAD_PX) * _PAD_PX for side in (height, width))
    if (high, wide) == (height, width):
        return []
    return [
        f"--size={height}x{width} is no multiple of {_PAD_PX}: csst predict pads such images with the mean colour, at "
        f"the right and at the bottom, to {high}x{wide}. To do the same, export --size={high}x{wide} and pad the "
        "images. docs/predict.md shows what it changed for one network."
    ]


def _check(format: str, out: str, size: str | None, target: str | None, tolerance: float | None, changed: bool) -> None:
    """Refuses arguments that do not belong together."""
    if format not in FORMATS:
        raise CsstError(f"--format={format} is not known; known are: {', '.join(FORMATS)}.")
    endings = FORMATS[format]
    if not out.endswith(endings):
        raise CsstError(f"--out={out}: a file of format {format} must end in {' or '.join(endings)}.")
    if format == "pytorch":
        if target not in TARGETS:
            raise CsstError(f"--format=pytorch needs --target, the code that will load it: {' or '.join(TARGETS)}.")
        if size is not None or changed:
            raise CsstError("--format=pytorch writes only weights: leave out --size, --preprocess and --argmax.")
    elif target is not None:
        raise CsstError(f"--target={target} is for --format=pytorch; leave it out.")
    elif size is None:
        raise CsstError(f"--format={format} needs the size of the images: give --size=HEIGHTxWIDTH, such as 512x1024.")
    if tolerance is not None and format not in ("onnx", "savedmodel"):
        raise CsstError(f"--tolerance={tolerance:g} is for --format=onnx or savedmodel; leave it out.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser("csst_jax.export", "Writes a trained network for other programs.")
    parser.add_argument("--checkpoint", required=True, help="a workdir, a finished stage or a file of weights")
    parser.add_argument("--format", required=True, help=f"{', '.join(FORMATS)}")
    parser.add_argument(
        "--out", required=True, help="file or directory to write: .onnx, .stablehlo, .savedmodel, .pth or .safetensors"
    )
    parser.add_argument("--size", metavar="HxW", help="height and width of the images; needed by all formats but "
                        "pytorch. Any number of images goes in at once")  # fmt: skip
    parser.add_argument("--preprocess", action="store_true", help="take uint8 RGB images and prepare them in the graph")
    parser.add_argument("--argmax", action="store_true", help="return class numbers instead of logits")
    parser.add_argument("--target", help=f"for pytorch: the code base that will load the weights: {', '.join(TARGETS)}")
    parser.add_argument("--tolerance", type=float, help="how much the other program's logits may differ; "
                        "default: 0.001, or 0.00001 of the largest if that is more")  # fmt: skip
    parser.add_argument("--int8", metavar="DATA", help="8-bit integers, for onnx: a prepared data set, whose training "
                        "images give their ranges and whose validation images are scored")  # fmt: skip
    parser.add_argument("--int8_may_lose", type=float, help="points of mIoU that int8 may lose; otherwise no file is "
                        f"written (default: {_MAY_LOSE:g})")  # fmt: skip
    a = parser.parse_args(arguments)
    os.environ["JAX_PLATFORMS"] = "cpu"  # a training may have the accelerators
    try:
        asked = (a.checkpoint, a.format, a.out, a.size, a.preprocess, a.argmax, a.target, a.tolerance)
        for line in export(*asked, a.int8, a.int8_may_lose):
            print(line)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    tell_interruption()
    sys.exit(main())
