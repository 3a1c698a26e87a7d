"""A network's ONNX file in 8-bit integers, kept only if it scores nearly what the file in float32 does."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from csst_jax.data.store import DataSet
from csst_jax.data.stored.encoded import decode_label, decode_rgb
from csst_jax.evaluation.confusion import confusion, miou
from csst_jax.models.exporting.onnx_file import INPUT
from csst_jax.models.weights import files
from csst_jax.runtime.patience import print_line, told
from csst_jax.runtime.storage import replacing
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import os
    import pathlib
    from collections.abc import Iterator

    from csst_jax.data.store import Reader
    from csst_jax.models.exporting.function import Exported

_CALIBRATING = 32  # images, whose activations give the ranges
_METADATA = {"precision": "int8"}


def write(
    path: str | os.PathLike[str],
    floating: pathlib.Path,
    exported: Exported,
    data: str,
    may_lose: float,
    splits: tuple[str, str] = ("train", "val"),
) -> list[str]:
    """Writes the file, atomically: weights by output channel and activations as 8-bit integers.

    Weights keep 7 of the 8 bits: processors without VNNI add products in 16 bits, which would overflow.

    Args:
      path: of the file.
      floating: the file of `onnx_file.write`.
      exported: what it was written from.
      data: directory of a prepared data set with the network's classes.
      may_lose: points of mIoU that it may be worse by.
      splits: whose images give the ranges, and which is scored.

    Returns:
      What there is to say about it, a sentence an entry.

    Raises:
      CsstError: the data set does not fit the network or has nothing to score, or the score is too low.
    """
    from onnx import load, save
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    found = fitting(data, exported.description)
    calibrating, scored = (found.reader(split) for split in splits)

    class Images(CalibrationDataReader):
        """Some of the training images."""

        def __init__(self) -> None:
            step = -(-len(calibrating) // _CALIBRATING)
            self._rows = iter(range(0, len(calibrating), step))

        def get_next(self) -> dict[str, np.ndarray] | None:
            row = next(self._rows, None)
            return None if row is None else {INPUT: _prepared(exported, calibrating, row)}

    with replacing(path) as temporary:
        with told("measuring the ranges of activations", print_line), _no_advice():
            quantize_static(
                str(floating), str(temporary), Images(), quant_format=QuantFormat.QDQ, per_channel=True,
                reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
        made = load(str(temporary))
        for key, value in _METADATA.items():
            made.metadata_props.add(key=key, value=value)
        save(made, str(temporary))
        before, after = (_score(str(file), exported, scored) for file in (floating, temporary))
        lost = 100 * (before - after)
        height, width = exported.size
        said = (
            f"mIoU {100 * after:.1f} % in int8, {100 * before:.1f} % in float32, on {len(scored)} images of "
            f"{found.description.name}'s split {splits[1]!r} at {height} x {width} px"
        )
        if not lost <= may_lose:  # also where a score is not a number
            raise CsstError(
                f"{said}: that is worse by {lost:.1f} points. No file was written; --int8_may_lose allows more."
            )
        sizes = [file.stat().st_size / 1e6 for file in (temporary, floating)]
    return [f"int8: {sizes[0]:.1f} MB in place of {sizes[1]:.1f} MB", said]


def fitting(data: str, description: files.Description) -> DataSet:
    """The prepared data set of a directory.

    Raises:
      CsstError: there is none, or its classes are not the network's.
    """
    found = DataSet.open(data)
    if differing := files.other_classes(description, found.description.classes):
        raise CsstError(f"--int8={data}: the network {differing}; give the data set that it learned.")
    return found


def _prepared(exported: Exported, reader: Reader, row: int) -> np.ndarray:
    """An image as the file takes it, [1, height, width, 3]."""
    image = decode_rgb(reader.image_bytes(row))
    height, width = exported.size
    if image.shape[:2] != exported.size:
        way = cv2.INTER_AREA if image.shape[0] > height else cv2.INTER_LINEAR
        image = cv2.resize(image, (width, height), interpolation=way)
    if exported.preprocess:
        return image[None]
    return np.asarray(exported.description.preprocessing(image[None].astype(np.float32) / 255))


def _score(path: str, exported: Exported, reader: Reader) -> float:
    """The mIoU of a file on the images of a split that have labels, from 0 to 1.

    Raises:
      CsstError: no image has a labelled pixel.
    """
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    classes, (height, width) = exported.description.num_classes, exported.size
    matrix = np.zeros((classes, classes), np.int64)
    row = 0
    with told(lambda: f"scoring: {row} of {len(reader)} images", print_line):
        for row in range(len(reader)):
            label = decode_label(reader.label_bytes(row))
            if label.shape != exported.size:
                label = cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST)
            (result,) = session.run([exported.output], {INPUT: _prepared(exported, reader, row)})
            predicted = result[0] if exported.argmax else result[0].argmax(-1)
            matrix += confusion(label[None], predicted[None], classes)
    if not matrix.any():
        raise CsstError("int8 is scored on the data set's validation images, and none has a mask.")
    return miou(matrix)


@contextlib.contextmanager
def _no_advice() -> Iterator[None]:
    """Silences the advice to fold batch normalisation first, which our files have done."""
    root = logging.getLogger()

    def other(record: logging.LogRecord) -> bool:
        return "pre-processing" not in record.getMessage()

    root.addFilter(other)
    try:
        yield
    finally:
        root.removeFilter(other)
