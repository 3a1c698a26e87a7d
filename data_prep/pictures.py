"""Pictures of data for people: images under their masks, points in crops, and bars."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from csst_jax.data.store import DataSet
from csst_jax.data.stored import encoded
from csst_jax.data.stored.centroid_index import CentroidIndex
from csst_jax.evaluation.lettering import Font
from csst_jax.evaluation.pictures import colour, contact_sheet, tile_size
from csst_jax.types import CsstError, DatasetDescription

MAX_PER_SPLIT = 24
"""Images of a split on a contact sheet at most, however many classes there are."""

_MASK_WEIGHT = 0.6
_TILE_PX = 320
_INK, _PAPER, _TEXT_PX = (34, 34, 34), (255, 255, 255), 14


def overlay(image: np.ndarray, label: np.ndarray, palette: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """uint8 [h, w, 3]: the image under the colours of its label; void is darkened.

    Args:
      image: uint8 [h, w, 3].
      label: uint8 [h, w], classes and 255.
      palette: a colour for each class.
    """
    mixed = (1 - _MASK_WEIGHT) * image + _MASK_WEIGHT * colour(label, palette)
    return mixed.round().astype(np.uint8)


def write_sheet(
    rows: Sequence[Sequence[tuple[str, np.ndarray]]],
    path: str | os.PathLike[str],
    tile_width_px: int,
    description: DatasetDescription | None = None,
    *,
    flag: str,
) -> None:
    """`contact_sheet`, whose failure is the user's to fix with the flag `flag`.

    Raises:
      CsstError: there is no picture, or the file cannot be written.
    """
    try:
        contact_sheet(rows, path, description=description, tile_width_px=tile_width_px)
    except OSError as error:
        raise CsstError(
            f"cannot write {os.fspath(path)} ({error.strerror}); name another place with --{flag}."
        ) from error


def draw_sheet(
    path: str | os.PathLike[str], data_set: DataSet, records: Mapping[str, Sequence[int]], per_split: int = 8
) -> None:
    """Writes a contact sheet of images beside the same under their masks, such that every class is shown, if it can.

    Args:
      path: the PNG file.
      data_set: the data set; the index of every split of `records` is sound.
      records: labelled images to choose from, for each split.
      per_split: images of each split; more where it takes more to show every class, up to `MAX_PER_SPLIT`.

    Raises:
      CsstError: there is no image at all, or the file cannot be written.
    """
    pairs = []
    for split, candidates in records.items():
        ids, source = data_set.ids(split), data_set.reader(split)
        for record in choose(data_set.centroids(split), candidates, per_split)[:MAX_PER_SPLIT]:
            image, mask = _small(*source.pair_bytes(record), data_set.description.palette)
            pairs.append([(f"{split}/{ids[record]}", image), ("its mask", mask)])
    rows = [left + right for left, right in zip(pairs[::2], [*pairs[1::2], []], strict=False)]
    write_sheet(rows, path, _TILE_PX, data_set.description, flag="contact_sheet")


def _small(
    image_bytes: bytes, label_bytes: bytes, palette: Sequence[tuple[int, int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """An image, and it under its mask, at the size that the sheet shows: large ones do not lie in memory together.

    Both are averaged, so that an object of a few pixels in a large image leaves a trace.
    """
    pixels = encoded.decode_rgb(image_bytes)
    mask = overlay(pixels, encoded.decode_label(label_bytes), palette)
    size = tile_size((pixels.shape[1], pixels.shape[0]), _TILE_PX)
    if size[0] >= pixels.shape[1]:
        return pixels, mask
    image, under = (np.asarray(Image.fromarray(x).resize(size, Image.Resampling.BOX)) for x in (pixels, mask))
    return image, under


def choose(index: CentroidIndex, records: Sequence[int], count: int) -> list[int]:
    """Records that show every class between them: of each the image with most of it; then others at even distances.

    Args:
      index: components of the split's labels.
      records: those to choose from.
      count: how many; more where it takes more to show every class.
    """
    area = np.zeros((len(index.ids), index.num_classes), np.int64)
    np.add.at(area, (index.record, index.klass), index.area)
    area = area[list(records)]
    chosen: list[int] = []
    for klass in np.argsort(np.count_nonzero(area, axis=0), kind="stable").tolist():  # the rarest first
        if area[:, klass].any() and not area[chosen, klass].any():
            chosen.append(int(area[:, klass].argmax()))
    others = [place for place in range(len(records)) if place not in chosen]
    wanted = min(max(count - len(chosen), 0), len(others))
    chosen += [others[place] for place in np.linspace(0, len(others) - 1, wanted).round().astype(int).tolist()]
    return sorted(records[place] for place in chosen)


def mark(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """A copy with a ring around the point (y, x), white in black, so that it shows on any ground."""
    picture = Image.fromarray(image)
    radius = max(4, round(min(image.shape[:2]) / 40))
    draw = ImageDraw.Draw(picture)
    for width, ink in ((5, (0, 0, 0)), (2, (255, 255, 255))):
        grown = radius + width / 2
        draw.ellipse((x - grown, y - grown, x + grown, y + grown), outline=ink, width=width)
    return np.asarray(picture)


def bars(
    title: str, names: Sequence[str], series: Mapping[str, np.ndarray], width_px: int = 900, unit: str = ""
) -> np.ndarray:
    """uint8 [h, w, 3]: a chart of horizontal bars, one group a name and one bar a series.

    Args:
      title: above the chart.
      names: labels of the groups.
      series: for each name of a series, one value a group, 0 or more; at most four series.
      width_px: of the picture.
      unit: behind each value.
    """
    inks = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167))  # Okabe and Ito's: for the colour blind, too
    font = Font(_TEXT_PX)
    bar, gap, margin = 14, 10, 12
    left = margin + max(font.getlength(name) for name in names) + 10
    right = margin + font.getlength(f"00000.0{unit}")
    top = 2 * margin + 2 * (_TEXT_PX + 8)
    group = len(series) * bar + gap
    picture = Image.new("RGB", (width_px, top + len(names) * group + margin), _PAPER)
    draw = ImageDraw.Draw(picture)
    font.write(picture, (margin, margin), title, _INK)
    x = float(margin)
    for ink, name in zip(inks, series, strict=False):
        y = margin + _TEXT_PX + 8
        draw.rectangle((x, y + 2, x + _TEXT_PX, y + 2 + _TEXT_PX), fill=ink)
        font.write(picture, (x + _TEXT_PX + 6, y), name, _INK)
        x += _TEXT_PX + 6 + font.getlength(name) + 20
    largest = max(float(np.max(values)) for values in series.values()) or 1
    for g, name in enumerate(names):
        y = top + g * group
        font.write(picture, (left - 10, y + len(series) * bar / 2), name, _INK, "rm")
        for s, (ink, values) in enumerate(zip(inks, series.values(), strict=False)):
            end = left + (width_px - left - right) * values[g] / largest
            draw.rectangle((left, y + s * bar, end, y + (s + 1) * bar - 2), fill=ink)
            value = f"{round(float(values[g]), 1):g}{unit}"
            font.write(picture, (end + 5, y + s * bar + bar / 2 - 1), value, _INK, "lm")
    return np.asarray(picture)
