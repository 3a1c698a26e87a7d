"""Pictures for people: coloured label maps, confidence maps, and contact sheets of them."""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Integer, UInt8
from PIL import Image, ImageDraw

from csst_jax.evaluation.lettering import Font
from csst_jax.runtime.storage import replacing
from csst_jax.types import IGNORE_LABEL, CsstError, DatasetDescription

_CONFIDENCE_RAMP = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]])
"""Viridis at 0, 1/4, ... 1 (matplotlib): lightness rises evenly, also in grey and for the colour blind."""
_TALLEST = 1.5  # height of a picture on a contact sheet, of the column's width
_PAPER, _INK, _MARGIN, _TEXT_PX = (255, 255, 255), (34, 34, 34), 8, 14
_CAPTION_PX = _TEXT_PX + 8


def colour(label: Integer[np.ndarray, "h w"], palette: Sequence[tuple[int, int, int]]) -> UInt8[np.ndarray, "h w 3"]:
    """RGB picture of a label map; void (IGNORE_LABEL) is black.

    Raises:
      CsstError: a value is neither a class nor IGNORE_LABEL.
    """
    label = np.asarray(label)
    outside = (label != IGNORE_LABEL) & ((label < 0) | (label >= len(palette)))
    if outside.any():
        raise CsstError(
            f"{int(outside.sum())} pixels have labels outside 0..{len(palette) - 1}, for example "
            f"{int(label[outside][0])}; a palette needs a colour for each class."
        )
    table = np.zeros((IGNORE_LABEL + 1, 3), np.uint8)
    table[: len(palette)] = palette
    return table[label]


def difference(label: Integer[np.ndarray, "h w"], prediction: Integer[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """RGB picture of where a prediction is wrong (paper Fig. 7): red, on light grey; void is black."""
    rgb = np.full((*label.shape, 3), (225, 225, 225), np.uint8)
    rgb[label != prediction] = (200, 30, 30)
    rgb[label == IGNORE_LABEL] = 0
    return rgb


def colour_confidence(confidence: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """RGB picture of a map of values from 0 (dark violet) to 1 (yellow); values beyond are clipped, NaN is black."""
    place = np.clip(np.nan_to_num(confidence), 0, 1) * (len(_CONFIDENCE_RAMP) - 1)
    anchors = np.arange(len(_CONFIDENCE_RAMP))
    rgb = np.stack([np.interp(place, anchors, channel) for channel in _CONFIDENCE_RAMP.T], axis=-1)
    rgb[np.isnan(confidence)] = 0
    return rgb.round().astype(np.uint8)


def contact_sheet(
    rows: Sequence[Sequence[tuple[str, np.ndarray]]],
    path: str | os.PathLike[str],
    *,
    description: DatasetDescription | None = None,
    tile_width_px: int = 360,
) -> None:
    """Writes a PNG of captioned pictures in rows, with a legend below; the file appears only when complete.

    Args:
      rows: pictures with captions, each uint8 RGB "h w 3" or a float confidence map "h w" in 0 to 1.
      path: the file; missing directories are made.
      description: classes and palette for the legend; None for no class legend.
      tile_width_px: width of each picture on the sheet; heights follow the pictures, up to one and a half times this:
        taller ones are narrower.

    Raises:
      CsstError: there is no picture.
      ValueError: an array is neither of the two kinds.
    """
    rows = [row for row in rows if row]
    if not rows:
        raise CsstError(f"no picture for the contact sheet {os.fspath(path)}: there is no image to show.")
    font = Font(_TEXT_PX)
    tiles = [[(caption, _tile(array, tile_width_px)) for caption, array in row] for row in rows]
    heights = [max(tile.height for _, tile in row) + _CAPTION_PX + _MARGIN for row in tiles]
    width = max(len(row) for row in tiles) * (tile_width_px + _MARGIN) + _MARGIN
    has_confidence = any(np.ndim(array) == 2 for row in rows for _, array in row)
    entries = _legend_entries(description, has_confidence, font)
    lines = _wrap(entries, width - 2 * _MARGIN)
    sheet = Image.new("RGB", (width, _MARGIN + sum(heights) + len(lines) * _CAPTION_PX + _MARGIN), _PAPER)
    y = _MARGIN
    for row, height in zip(tiles, heights, strict=True):
        for column, (caption, tile) in enumerate(row):
            x = _MARGIN + column * (tile_width_px + _MARGIN)
            font.write(sheet, (x, y + 2), _shorten(caption, font, tile_width_px), _INK)
            sheet.paste(tile, (x, y + _CAPTION_PX))
        y += height
    _draw_lines(sheet, lines, y, font)
    save_png(sheet, path)


def draw_legend(
    path: str | os.PathLike[str], names: Sequence[str], palette: Sequence[tuple[int, int, int]], width_px: int = 480
) -> None:
    """Writes a PNG of classes' colours with their names.

    Args:
      path: the file; it appears only when complete, and missing directories are made.
      names: of the classes.
      palette: one RGB colour (0 to 255) a class.
      width_px: of the picture; what does not fit into a line goes on below.
    """
    font = Font(_TEXT_PX)
    lines = _wrap(_entries(zip(names, palette, strict=True), font), width_px - 2 * _MARGIN)
    widest = max(sum(width for _, _, width in line) for line in lines) + 2 * _MARGIN
    picture = Image.new("RGB", (max(width_px, widest), len(lines) * _CAPTION_PX + 2 * _MARGIN), _PAPER)
    _draw_lines(picture, lines, _MARGIN, font)
    save_png(picture, path)


def _draw_lines(sheet: Image.Image, lines: list[list[tuple[str, Image.Image, int]]], y: int, font: Font) -> None:
    """Swatches and names from a height on."""
    draw = ImageDraw.Draw(sheet)
    for line in lines:
        x = _MARGIN
        for name, swatch, entry_width in line:
            sheet.paste(swatch, (x, y + 3))
            draw.rectangle((x - 1, y + 2, x + swatch.width, y + 3 + swatch.height), outline=_INK)
            font.write(sheet, (x + swatch.width + 5, y + 2), name, _INK)
            x += entry_width
        y += _CAPTION_PX


def _tile(array: np.ndarray, width: int) -> Image.Image:
    array = np.asarray(array)
    if array.ndim == 2 and np.issubdtype(array.dtype, np.floating):
        array = colour_confidence(array)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise ValueError(f"a picture is uint8 h w 3 or float h w, not {array.dtype} of shape {array.shape}")
    image = Image.fromarray(array)
    size = tile_size(image.size, width)
    # Averaging when shrinking; plain copies when enlarging, so that label borders stay as the network drew them.
    return image.resize(size, Image.Resampling.BOX if size[0] < image.width else Image.Resampling.NEAREST)


def tile_size(size: tuple[int, int], width: int) -> tuple[int, int]:
    """(width, height) on a contact sheet of a picture of that (width, height); `width` is that of the column.

    >>> tile_size((640, 480), 320), tile_size((16, 2048), 320)
    ((320, 240), (4, 480))
    """
    scale = min(width / size[0], _TALLEST * width / size[1])
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def _legend_entries(
    description: DatasetDescription | None, has_confidence: bool, font: Font
) -> list[tuple[str, Image.Image, int]]:
    """(name, swatch, width in pixels) of each entry."""
    entries = []
    if description is not None:
        classes = zip(description.classes, description.palette, strict=True)
        entries += _entries([*classes, ("void", (0, 0, 0))], font)
    if has_confidence:
        ramp = Image.fromarray(colour_confidence(np.broadcast_to(np.linspace(0, 1, 120), (_TEXT_PX, 120))))
        entries.append(_entry("confidence 0 to 1", ramp, font))
    return entries


def _entries(colours: Iterable[tuple[str, tuple[int, int, int]]], font: Font) -> list[tuple[str, Image.Image, int]]:
    return [_entry(name, Image.new("RGB", (_TEXT_PX, _TEXT_PX), tuple(rgb)), font) for name, rgb in colours]


def _entry(name: str, swatch: Image.Image, font: Font) -> tuple[str, Image.Image, int]:
    return name, swatch, swatch.width + 5 + font.getlength(name) + 18


def _wrap(entries: list[tuple[str, Image.Image, int]], width: int) -> list[list[tuple[str, Image.Image, int]]]:
    lines: list[list[tuple[str, Image.Image, int]]] = []
    used = width
    for entry in entries:
        if used + entry[2] > width:
            lines.append([])
            used = 0
        lines[-1].append(entry)
        used += entry[2]
    return lines


def _shorten(text: str, font: Font, width: int) -> str:
    """The text, its middle left out if it is too wide: both ends of a file name tell images apart."""

    def without(left_out: int) -> str:
        begin = (len(text) - left_out) // 2
        return f"{text[:begin]}…{text[begin + left_out :]}"

    def fits(shown: str) -> bool:
        return font.getlength(shown) <= width

    if fits(text) or len(text) < 2:
        return text
    # The caption of an image may name a hundred classes: not letter by letter.
    numbers = range(1, len(text) - 1)
    return without(1 + bisect.bisect_left(numbers, True, key=lambda left_out: fits(without(left_out))))


def save_png(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Writes a PNG; the file appears only when complete, and missing directories are made."""
    with replacing(path) as made:
        image.save(made, format="PNG")
