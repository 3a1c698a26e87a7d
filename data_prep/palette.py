"""Colours that masks with a palette give to classes."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable

from PIL import Image

from csst_jax.types import IGNORE_LABEL
from data_prep.label_map import LabelMap
from data_prep.problems import Problems
from data_prep.raw import RawPair


def compare_palettes(pairs: Iterable[RawPair], labels: LabelMap, problems: Problems) -> None:
    """Compares the colours that palette masks give to each value; reads headers alone.

    An editor that saves the colours which occur, in the order in which they do, leaves a mask that looks as before and
    whose values mean other classes. A file that cannot be read is left to who reads it whole.

    Args:
      pairs: files of all masks that are numbered alike.
      labels: what the values stand for; palette entries that stand for no class are not compared, nor those by whose
        colour a mask may be read (`LabelMap.by_place`).
      problems: gets each mask whose palette contradicts that of one before.
    """
    meant = [value for value, klass in labels.values.items() if klass != IGNORE_LABEL]
    first: dict[int, tuple[tuple[int, ...], RawPair]] = {}
    for pair in pairs:
        if pair.mask is None or not pair.mask.is_file():
            continue
        palette: list[int] = []
        with contextlib.suppress(Exception), warnings.catch_warnings():  # a damaged file can make Pillow raise anything
            warnings.simplefilter("ignore")
            with Image.open(pair.mask, formats=("PNG",)) as picture:
                palette = (picture.getpalette() if picture.mode == "P" else None) or []
        for value in (v for v in meant if 3 * v < len(palette)):
            colour = tuple(palette[3 * value : 3 * value + 3])
            if labels.by_place and colour in labels.colours:
                continue
            expected, other = first.setdefault(value, (colour, pair))
            if colour != expected:
                problems.add(
                    f"{pair.mask}: its palette gives value {value} the colour {colour}, that of {other.mask} "
                    f"{expected}; has an editor renumbered the classes? Save all masks with one palette, or, if the "
                    "values are right, without."
                )
                break
