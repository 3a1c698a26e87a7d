"""Colours for classes that come without."""

from __future__ import annotations

import colorsys


def distinct_palette(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Colours that differ: hues a golden angle apart, in three brightnesses by turns."""
    brightness = (0.95, 0.65, 0.4)
    colours = (
        colorsys.hsv_to_rgb(0.618034 * k % 1.0, 0.85 - 0.3 * (k % 2), brightness[k % 3]) for k in range(num_classes)
    )
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colours)
