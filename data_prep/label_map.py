"""What the values, or the colours, of a mask stand for: classes 0..C-1, or void."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping

import numpy as np
from PIL import Image

from csst_jax.types import IGNORE_LABEL

Colour = tuple[int, int, int]

_MOST_COLOURS = 32


@dataclasses.dataclass(frozen=True)
class LabelMap:
    """Which class each value of a single-channel mask is, and each colour of an RGB mask.

    Attributes:
      values: class (0..C-1, or 255 for void) by mask value; empty where masks are RGB alone.
      colours: class by (r, g, b); empty where masks are single-channel alone.
      by_place: whether nobody gave the classes' values, which are then their places in the list: a mask that has the
        classes' colours may mean these.
    """

    values: Mapping[int, int]
    colours: Mapping[Colour, int] = dataclasses.field(default_factory=dict)
    by_place: bool = dataclasses.field(default=False, repr=False)  # fingerprints of earlier versions have none

    @classmethod
    def identity(cls, num_classes: int, void: Collection[int] = (IGNORE_LABEL,)) -> LabelMap:
        """Masks that hold class numbers, and void where they are one of `void`."""
        return cls({value: value for value in range(num_classes)} | dict.fromkeys(void, IGNORE_LABEL))

    @classmethod
    def from_official(cls, official_ids: Iterable[int], void: Collection[int]) -> LabelMap:
        """Masks that hold a data set's own numbers (`DatasetDescription.official_ids`)."""
        return cls({value: k for k, value in enumerate(official_ids)} | dict.fromkeys(void, IGNORE_LABEL))

    def of_values(self, mask: np.ndarray) -> tuple[np.ndarray, dict[int, int]]:
        """Classes of a single-channel mask.

        Args:
          mask: integer [h, w].

        Returns:
          uint8[h, w]: classes and 255; and how many pixels hold each value that stands for nothing (255 is void unless
          `values` says otherwise).
        """
        return _look_up({IGNORE_LABEL: IGNORE_LABEL} | dict(self.values), mask)

    def of_colours(self, mask: np.ndarray) -> tuple[np.ndarray, dict[Colour, int]]:
        """Classes of an RGB mask, uint8 [h, w, 3]; returns what `of_values` does, with colours for values."""
        table = {_pack(np.array(colour)).item(): klass for colour, klass in self.colours.items()}
        label, unknown = _look_up(table, _pack(mask))
        return label, {(key >> 16, key >> 8 & 255, key & 255): count for key, count in unknown.items()}

    def is_mask(self, picture: Image.Image) -> bool:
        """Whether a picture (of mode RGB, RGBA, L or P) may be a mask: few colours, two or more, all of them of masks.

        A photo has more, unless it shows one colour alone. A binarised scan may have no others.
        """
        found = picture.getcolors(_MOST_COLOURS)  # None where there are more, after a look at a few pixels
        if found is None or len(found) < 2:
            return False
        values = {IGNORE_LABEL, *self.values} if self.values else set()
        if picture.mode in ("L", "P") and {key for _, key in found} <= values:
            return True
        colours = {key for _, key in picture.convert("RGB").getcolors(_MOST_COLOURS) or ()}
        grey = {(value, value, value) for value in values}
        return len(colours) > 1 and (colours <= set(self.colours) or colours <= grey)

    def shows(self, picture: Image.Image, label: np.ndarray) -> bool:
        """Whether a picture, read as a mask, is this label.

        Args:
          picture: of mode RGB, RGBA, L or P.
          label: uint8 [h, w], classes and 255.
        """
        colours = np.asarray(picture.convert("RGB"))
        planes = [colours[..., 0], *([np.asarray(picture)] if picture.mode in ("L", "P") else [])]
        if any(np.array_equal(found, label) for found, unknown in map(self.of_values, planes) if not unknown):
            return True
        found, others = self.of_colours(colours) if self.colours else (None, {})
        return found is not None and not others and np.array_equal(found, label)


def _pack(colours: np.ndarray) -> np.ndarray:
    """int32[...] of uint8 [..., 3]."""
    wide = colours.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _look_up(table: Mapping[int, int], mask: np.ndarray) -> tuple[np.ndarray, dict[int, int]]:
    keys = np.array(sorted(table))
    classes = np.array([table[key] for key in keys.tolist()], np.uint8)
    place = np.searchsorted(keys, mask).clip(max=len(keys) - 1)
    unknown = keys[place] != mask
    if not unknown.any():
        return classes[place], {}
    found, counts = np.unique(mask[unknown], return_counts=True)
    return classes[place], dict(zip(found.tolist(), counts.tolist(), strict=True))
