"""Text in pictures, in most scripts: with the fonts in OpenCV, as the one in Pillow has no letters beyond ASCII."""

from __future__ import annotations

import functools
import unicodedata

import cv2
import numpy as np
from PIL import Image

_WEIGHT = 400  # regular


class Font:
    """A font without serifs, of one size."""

    def __init__(self, size_px: int) -> None:
        """Takes the height of a line without what reaches below it, such as the tail of a g."""
        self.size_px = size_px

    def getlength(self, text: str) -> int:
        """The width of a text in pixels."""
        _, _, width, _ = cv2.getTextSize((0, 0), _drawable(text), (0, 0), _face(), self.size_px, _WEIGHT)
        return int(width)

    def write(
        self, picture: Image.Image, at: tuple[float, float], text: str, ink: tuple[int, int, int], anchor: str = "la"
    ) -> None:
        """Writes a line of text into an RGB picture; what does not fit is cut off.

        Args:
          picture: is changed.
          at: the point (x, y) of the anchor.
          text: a character that the fonts do not have becomes a question mark.
          ink: its colour.
          anchor: two letters, as Pillow has them: l, m or r for the left end, the middle or the right end of the text,
            then a or m for its top or its middle.
        """
        width, margin = self.getlength(text), self.size_px
        mask = np.zeros((2 * self.size_px, width + 2 * margin), np.uint8)
        cv2.putText(mask, _drawable(text), (margin, self.size_px), (255,), _face(), self.size_px, _WEIGHT)
        left = at[0] - margin - {"l": 0, "m": width / 2, "r": width}[anchor[0]]
        top = at[1] - {"a": 0, "m": 0.65 * self.size_px}[anchor[1]]  # half of a capital above the middle
        picture.paste(ink, (round(left), round(top)), Image.fromarray(mask))


@functools.cache
def _face() -> cv2.FontFace:
    return cv2.FontFace("sans")


def _drawable(text: str) -> str:
    """Letters composed (macOS stores a letter and its accent apart), and bytes that are not UTF-8 as numbers.

    OpenCV crashes at such bytes.
    """
    return unicodedata.normalize("NFC", text.encode("utf-8", "backslashreplace").decode())
