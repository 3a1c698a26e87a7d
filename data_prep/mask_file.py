"""Mask files: what their values or colours stand for, pixel by pixel, and errors that name the file and the value."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from csst_jax.data.picture_file import Bad, read_mask
from csst_jax.types import IGNORE_LABEL
from data_prep.label_map import LabelMap

_FEW = 5  # values or colours that a message lists


def read_label(path: pathlib.Path, labels: LabelMap) -> np.ndarray:
    """The classes of a mask.

    A mask of one channel counts by its numbers where `labels` has values. If nobody gave those (`by_place`), it counts
    by its colours or grey levels where all of them are colours of classes.

    Args:
      path: a PNG, or a MATLAB file of the Semantic Boundaries Dataset.
      labels: what the values or colours stand for.

    Returns:
      uint8[h, w]: classes and 255.

    Raises:
      Bad: the mask cannot be read, something in it stands for no class, or it can be read in two ways.
    """
    known = {IGNORE_LABEL: IGNORE_LABEL} | dict(labels.values)  # as `of_values` has it
    if path.suffix == ".mat":
        return _without_unknown(path, "value", known, *labels.of_values(_read_sbd(path)))
    picture = read_mask(path)
    single = picture.mode in ("L", "P", "1", "I", "I;16", "I;16B")
    if single and labels.values:
        values = np.asarray(picture)
        values = values.astype(np.uint8) if values.dtype == bool else values
        by_value = labels.of_values(values)
        if labels.by_place and labels.colours and picture.mode in ("L", "P", "1"):
            by_colour = labels.of_colours(np.asarray(picture.convert("RGB")))
            if not by_colour[1] and not by_value[1]:
                _require_alike(path, picture, by_colour[0], by_value[0])
            elif sum(by_colour[1].values()) < sum(by_value[1].values()):
                _require_opaque(path, picture)
                return _without_unknown(path, "colour", labels.colours, *by_colour)
        return _without_unknown(path, "value", known, *by_value)
    if labels.colours and picture.mode in ("P", "RGB", "RGBA"):
        _require_opaque(path, picture)
        return _without_unknown(path, "colour", labels.colours, *labels.of_colours(np.asarray(picture.convert("RGB"))))
    wanted = (
        "an RGB or palette PNG in the colours of the classes"
        if labels.colours
        else "a single-channel index mask (grey or palette PNG whose values are class numbers)"
    )
    raise Bad(
        f"{path}: the mask has {len(picture.getbands())} channels (mode {picture.mode}); it must be {wanted}: convert "
        "it, or give the classes colours (data_prep.folder)."
    )


def _require_opaque(path: pathlib.Path, picture: Image.Image) -> None:
    """Refuses transparent pixels, whose colours nobody sees."""
    if not picture.has_transparency_data:
        return
    alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    if (count := int((alpha < 255).sum())) > 0:
        raise Bad(
            f"{path}: the mask has {count} transparent pixel{'s' * (count != 1)}, whose colour nobody sees. Flatten "
            "the layers onto the colour of void or of a class, and save the mask as RGB without an alpha channel."
        )


def _require_alike(path: pathlib.Path, picture: Image.Image, by_colour: np.ndarray, by_value: np.ndarray) -> None:
    """Refuses a mask of which nobody can tell whether its colours or its numbers count."""
    other = np.argwhere(by_colour != by_value)
    if not len(other):
        return
    y, x = other[0].tolist()
    colour, value = picture.convert("RGB").getpixel((x, y)), int(np.asarray(picture)[y, x])
    of_colour, of_value = (
        "void" if label[y, x] == IGNORE_LABEL else f"class {label[y, x]}" for label in (by_colour, by_value)
    )
    raise Bad(
        f"{path}: the mask can be read in two ways, which differ: pixel x={x}, y={y} is {of_colour} by its colour "
        f"{colour}, and {of_value} by its value {value} (the first class is class 0). If the colours count, save the "
        "masks as RGB. If the values count, give each class `values: […]` in the file of --classes."
    )


def _read_sbd(path: pathlib.Path) -> np.ndarray:
    """The category mask of the Semantic Boundaries Dataset: `GTcls.Segmentation` of a MATLAB file."""
    import scipy.io  # JAX brings it; takes a while to import

    try:
        return np.asarray(scipy.io.loadmat(os.fspath(path))["GTcls"]["Segmentation"][0, 0])
    except Exception as error:  # a damaged file can make SciPy raise anything
        raise Bad(f"{path}: no readable mask GTcls.Segmentation ({error}). Copy the file again.") from error


def _without_unknown(
    path: pathlib.Path, kind: str, known: Mapping[Any, int], label: np.ndarray, unknown: Mapping[Any, int]
) -> np.ndarray:
    if not unknown:
        return label
    wrong = ", ".join(f"{key} ({count} pixel{'s' * (count != 1)})" for key, count in list(unknown.items())[:_FEW])
    classes = [key for key, klass in known.items() if klass != IGNORE_LABEL]
    void = [key for key, klass in known.items() if klass == IGNORE_LABEL]
    of_smoothing = (
        f" A mask that was resized or saved with smoothing, or as JPEG, has such colours at its edges; here it has "
        f"{len(unknown)}. Export it again as PNG, and resize it with nearest neighbour alone."
        if len(unknown) > _FEW
        else ""
    )
    hint = (
        f" If {next(iter(unknown))} is a class, --classes=FILE can say so: `- {{name: …, values: "
        f"[{next(iter(unknown))}]}}` (data_prep.folder)."
        if kind == "value"
        else of_smoothing
    )
    raise Bad(
        f"{path}: label {kind} {wrong}{' and more' if len(unknown) > _FEW else ''} stands for none of the "
        f"{len(set(known.values()) - {IGNORE_LABEL})} classes ({kind}s {_listed(classes)}) nor for void "
        f"({_listed(void) or 'none'}); fix the mask, the list of classes or the void {kind}s.{hint}"
    )


def _listed(keys: Sequence[Any]) -> str:
    """Numbers as ranges, a few colours one by one."""
    if not all(isinstance(key, int) for key in keys):
        return ", ".join(map(str, keys[:3])) + (", …" if len(keys) > 3 else "")
    runs: list[list[int]] = []
    for key in sorted(keys):
        if runs and key == runs[-1][-1] + 1:
            runs[-1][1:] = [key]
        else:
            runs.append([key])
    return ", ".join("..".join(map(str, run)) for run in runs)
