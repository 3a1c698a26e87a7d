"""A study's chart as SVG: a dot for each seed, a bar for the mean."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.studying.results import Row

_ROW, _TOP, _BOTTOM, _PLOT, _VALUES, _LETTER = 30, 44, 40, 460, 110, 7.2  # pixels
_DOT, _MEAN, _GRID, _TEXT = "#1f5fb4", "#c77f1a", "#e3e6ea", "#222"


def dots(table: Sequence[Row], title: str) -> str:
    """The chart.

    Args:
      table: rows from top to bottom, at least one.
      title: above it.

    Returns:
      An SVG document; dots show seed and value when one points at them.
    """
    left = 20 + _LETTER * max(len(row.name) for row in table)
    values = [100 * value for row in table for value in row.by_seed.values()]
    ticks = round_ticks(min(values), max(values))
    low, high = ticks[0], ticks[-1]
    width, height = left + _PLOT + _VALUES, _TOP + _ROW * len(table) + _BOTTOM
    bottom = _TOP + _ROW * len(table)

    def x(value: float) -> float:
        return left + _PLOT * (value - low) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="13" fill="{_TEXT}" role="img">',
        f"<title>{html.escape(title)}</title>",
        f'<rect width="100%" height="100%" fill="#fff"/><text x="14" y="22" font-weight="600">{html.escape(title)}'
        "</text>",
    ]
    for tick in ticks:
        parts.append(f'<path d="M{x(tick):.1f} {_TOP}V{bottom}" stroke="{_GRID}"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{bottom + 16}" text-anchor="middle" fill="#666">{tick:g}</text>')
    parts.append(
        f'<text x="{left + _PLOT / 2:.0f}" y="{bottom + 33}" text-anchor="middle" fill="#666">mIoU, %: a dot for each '
        "seed, a bar at the mean</text>"
    )
    for number, row in enumerate(table):
        y = _TOP + _ROW * (number + 0.5)
        mean = 100 * sum(row.by_seed.values()) / len(row.by_seed)
        spread = "" if row.miou.deviation is None else f" ± {100 * row.miou.deviation:.1f}"
        parts.append(f'<text x="{left - 12:.1f}" y="{y + 4:.1f}" text-anchor="end">{html.escape(row.name)}</text>')
        parts.append(f'<path d="M{x(mean):.1f} {y - 9:.1f}v18" stroke="{_MEAN}" stroke-width="3"/>')
        parts += [
            f'<circle cx="{x(100 * value):.1f}" cy="{y:.1f}" r="4" fill="{_DOT}" fill-opacity=".75">'
            f"<title>seed {seed}: {100 * value:.2f}</title></circle>"
            for seed, value in row.by_seed.items()
        ]
        parts.append(f'<text x="{left + _PLOT + 14:.1f}" y="{y + 4:.1f}">{mean:.1f}{spread}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def round_ticks(low: float, high: float, about: int = 6, most: float | None = 100.0) -> list[float]:
    """Round values that cover a range of values from 0 to `most`, with some room at both ends."""
    half, middle = 0.55 * max(high - low, 1.0), (low + high) / 2
    low, high = max(0.0, middle - half), middle + half
    high = high if most is None else min(most, high)
    power = 10.0 ** math.floor(math.log10((high - low) / about))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (power * factor) <= about)
    first = math.floor(low / step)
    last = max(math.ceil(high / step), first + 1)
    return [round(k * step, 9) for k in range(first, last + 1)]
