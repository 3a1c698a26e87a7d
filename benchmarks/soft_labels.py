"""Soft pseudo labels beside hard ones and beside all probabilities: bytes a pixel, and the time of a random crop.

python -m benchmarks.soft_labels --checkpoint=runs/demo/teacher --data_dir=data --json

A teacher predicts images of a data set's training split, mirror images averaged. Each form of storage is written as the
label stage writes it, and the same crops are cut from all of them in turn.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from csst_jax import build
from csst_jax.data.chosen import Data
from csst_jax.data.crop import scaled_crop, windows
from csst_jax.data.stored import encoded, soft_labels
from csst_jax.data.stored.pseudo_labels import PseudoLabelled, shard_path, write_shard
from csst_jax.evaluation.whole_image import Averaging
from csst_jax.settings.run import Mesh
from csst_jax.stages import model_file
from csst_jax.streams import num_maps
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from csst_jax.data.store import Reader
    from csst_jax.evaluation.whole_image import Prediction

FORMS = ((0, 8), (2, 8), (3, 8), (3, 4), (3, 2), (5, 8))
"""Classes and bits; 0 classes are hard labels, which come first."""
SCALES = (0.5, 2.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soft_labels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--checkpoint", required=True, help="the teacher: a stage's directory, or its model.safetensors"
    )
    parser.add_argument("--data_dir", required=True, help="the prepared data set")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--crops", type=int, default=64, help="number of crops of a timing")
    parser.add_argument("--pairs", type=int, default=7, help="timings of each form")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON in the last line")
    options = parser.parse_args(arguments)
    try:
        reader, predictions, classes = predicted(options.checkpoint, options.data_dir, options.images)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as directory:
        found = compared(pathlib.Path(directory), reader, predictions, classes, options.crops, options.pairs)
    if options.json:
        print(json.dumps(found))
    return 0


def predicted(checkpoint: str, data_dir: str, count: int) -> tuple[Reader, list[Prediction], int]:
    """The images, what the teacher says of them, and the number of classes.

    Raises:
      CsstError: there is no such network or data set.
    """
    selection = (data := Data(data_dir, "train", "val", "", "", "")).training(data.open())
    teacher, mesh = model_file.load(checkpoint), Mesh(-1, 1, split_state=False)
    ranks = max(k for k, _ in FORMS)
    arguments = (teacher.network, teacher.weights, teacher.expects, 1, mesh)
    predictor = build.predictor(Averaging(flip=True, pad_px=32), *arguments, ranks=ranks)
    records = sorted((*selection.labelled, *selection.unlabelled))[-count:]
    return selection.reader, list(predictor(selection.reader, records)), len(selection.dataset.description.classes)


def compared(
    directory: pathlib.Path, reader: Reader, predictions: Sequence[Prediction], classes: int, crops: int, pairs: int
) -> dict[str, Any]:
    """Writes every form, cuts crops from all in turn, and prints a table."""
    pixels = sum(prediction.classes.size for prediction in predictions)
    sources, rows = [], []
    for k, bits in FORMS:
        source, encode_ms = stored(directory / f"{k}_{bits}", reader, predictions, k, bits)
        size = sum(len(source.pair_bytes(i)[1]) for i in range(len(source))) / pixels
        sources.append((source, num_maps(k) if k else 0))
        rows.append((k, bits, size, encode_ms))
    height, width = predictions[0].classes.shape
    side = min(height, width) // 2
    places = [place(np.random.default_rng(number), len(predictions), height, width) for number in range(crops)]
    whole, alone = [], []
    for _ in range(pairs):
        whole.append([seconds(lambda s=s, n=n: cut(s, n, side, places)) for s, n in sources])
        alone.append([seconds(lambda s=s: labels_alone(s, side, places)) for s, _ in sources])
    print(
        f"{len(predictions)} images of {height}x{width} and {classes} classes; crops of {side} px. All probabilities "
        f"as float32 take {4 * classes} bytes a pixel. Times are of the processor.\n"
    )
    heads = ("classes", "bits", "bytes a pixel", "of all probabilities", "ms to encode an image", "ms a crop", "/ hard")
    print(f"| {' | '.join(heads)} | its label alone / hard |")
    print("| --: | --: | --: | --: | --: | --: | --: | --: |")
    found: dict[str, Any] = {"float32_bytes": 4 * classes}
    for number, (k, bits, size, encode_ms) in enumerate(rows):
        ms = 1e3 * statistics.median(times[number] for times in whole) / crops
        ratio, label_ratio = (statistics.median(t[number] / t[0] for t in times) for times in (whole, alone))
        print(
            f"| {k or 'hard'} | {bits if k else '–'} | {size:.3f} | 1 / {4 * classes / size:.0f} | {encode_ms:.1f} "
            f"| {ms:.2f} | {ratio:.2f} | {label_ratio:.2f} |"
        )
        found[f"k{k}_{bits}" if k else "hard"] = {"bytes_a_pixel": round(size, 4), "crop_ratio": round(ratio, 2)}
    return found


def stored(
    directory: pathlib.Path, reader: Reader, predictions: Sequence[Prediction], k: int, bits: int
) -> tuple[PseudoLabelled, float]:
    """Labels in one form, and the milliseconds that encoding an image took."""
    directory.mkdir()
    hard = [encoded.encode_label(prediction.classes) for prediction in predictions]
    soft: list[bytes] = []

    def encode() -> None:
        for p in predictions:
            data = soft_labels.encode(p.classes, *p.ranked(k), bits) if k else encoded.encode_label(p.classes)
            soft.append(data)

    took_ms = 1e3 * seconds(encode) / len(predictions)
    if k:
        write_shard(shard_path(directory, 0, 1, soft=True), soft)
    write_shard(shard_path(directory, 0, 1), hard)
    records = [prediction.record for prediction in predictions]
    return PseudoLabelled(directory, reader, records, len(records), soft=k > 0), took_ms


def place(rng: np.random.Generator, images: int, height: int, width: int) -> tuple[int, np.ndarray, float]:
    """An image, a point of it, and a scale."""
    return int(rng.integers(images)), rng.uniform(0, (height - 1, width - 1)), float(rng.uniform(*SCALES))


def cut(source: PseudoLabelled, maps: int, side: int, places: Sequence[tuple[int, np.ndarray, float]]) -> None:
    """Reads and cuts as the training input does."""
    image, label = np.empty((side, side, 3), np.uint8), np.empty((side, side), np.uint8)
    soft = np.empty((maps, side, side), np.uint8) if maps else None
    for record, centre, scale in places:
        pair = source.pair_bytes(record)
        scaled_crop(*pair, centre, scale, False, image_out=image, label_out=label, soft_out=soft)


def labels_alone(source: PseudoLabelled, side: int, places: Sequence[tuple[int, np.ndarray, float]]) -> None:
    """Reads and decodes the windows of labels, without their images."""
    for record, centre, scale in places:
        data = source.soft_bytes(record) if source.soft else source.label_bytes(record)
        window, _ = windows(encoded.size(data), centre, scale, side, anywhere=False)
        encoded.decode_label(data, window)


def seconds(work: Callable[[], None]) -> float:
    """Processor time that it takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
