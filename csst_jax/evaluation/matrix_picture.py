"""A picture of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Integer
from PIL import Image, ImageDraw

from csst_jax.evaluation.lettering import Font

_PAPER, _INK, _EMPTY, _FULL = (255, 255, 255), (34, 34, 34), np.array([245, 247, 250]), np.array([23, 64, 120])
_TEXT_PX, _MARGIN = 13, 10
_WITH_NUMBERS, _CELL_PX, _SMALL_CELL_PX = 24, 34, 17
"""Up to so many classes, cells hold numbers; the cells' sides with and without."""


def confusion_picture(matrix: Integer[np.ndarray, "c c"], class_names: Sequence[str]) -> Image.Image:
    """For each class of the ground truth, a row of what share of its pixels went to which class.

    Shares that round to zero have no number; rows of classes that the ground truth does not show are empty.
    """
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    numbers = len(class_names) <= _WITH_NUMBERS
    cell = _CELL_PX if numbers else _SMALL_CELL_PX
    font = Font(_TEXT_PX)
    names_px = max(font.getlength(name) for name in class_names) + 2 * _MARGIN
    title = "rows: ground truth, columns: prediction, % of the row"
    left, top = names_px, names_px + 2 * _TEXT_PX
    width = max(left + cell * len(class_names), font.getlength(title) + _MARGIN) + _MARGIN
    picture = Image.new("RGB", (width, top + cell * len(class_names) + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(picture)
    font.write(picture, (_MARGIN, _MARGIN // 2), title, _INK)
    for i, name in enumerate(class_names):
        middle = i * cell + cell // 2
        font.write(picture, (left - _MARGIN, top + middle), name, _INK, "rm")
        upright = Image.new("RGB", (names_px, cell), _PAPER)
        font.write(upright, (_MARGIN, cell // 2), name, _INK, "lm")
        picture.paste(upright.transpose(Image.Transpose.ROTATE_90), (left + i * cell, top - names_px))
    for (row, column), value in np.ndenumerate(share):
        x, y = left + column * cell, top + row * cell
        colour = (_EMPTY + (_FULL - _EMPTY) * value).round().astype(int)
        draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=tuple(colour.tolist()))
        if numbers and round(100 * value):
            ink = _PAPER if value > 0.5 else _INK
            font.write(picture, (x + cell // 2, y + cell // 2), f"{100 * value:.0f}", ink, "mm")
    return picture
