"""A study's curves as SVG: charts side by side, a line through the means, a dot for each seed (the paper's Fig. 8)."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from csst_jax.studying.chart import round_ticks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from csst_jax.studying.arms import Study
    from csst_jax.studying.results import Row

Curves = dict[str, dict[str, list[float]]]
"""Of one chart: the values at each x, by curve."""

_COLOURS = ("#c77f1a", "#1f5fb4", "#2f8a57", "#a5449b", "#7b8494", "#b5452f", "#4a4ab0", "#5b7f1c")
_GRID, _GREY, _TEXT = "#e3e6ea", "#666", "#222"
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BELOW, _LINE = 430, 250, 58, 16, 40, 48, 20  # pixels


def of_rows(study: Study, table: Sequence[Row]) -> dict[str, Curves]:
    """The charts of a study by title, values in percent; {} where no arm has a point."""
    points = {arm.name: arm.point for arm in study.arms}
    found: dict[str, Curves] = {}
    for row in table:
        if (point := points[row.arm]) is not None:
            curve = found.setdefault(point.chart, {}).setdefault(point.curve, {})
            curve[point.x] = [100 * value for value in row.by_seed.values()]
    return found


def drawn(
    charts: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
    x_name: str,
    y_name: str,
    most: float | None = None,
) -> str:
    """The charts side by side, with one vertical axis.

    Args:
      charts: by title, curve and x, the values there, at least one. Places on the horizontal axis are at equal
        distances.
      x_name: below each.
      y_name: beside each.
      most: where the vertical axis ends at the latest; None for anywhere.

    Returns:
      An SVG document; dots show their value when one points at them.
    """
    names = list(dict.fromkeys(name for curves in charts.values() for name in curves))
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    values = [v for curves in charts.values() for curve in curves.values() for there in curve.values() for v in there]
    ticks = round_ticks(min(values), max(values), most=most)
    width, height = _WIDTH * len(charts), _TOP + _HEIGHT + _BELOW + _LINE * len(names)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{_TEXT}" role="img">',
        f"<title>{html.escape('; '.join(charts))}</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for number, (title, curves) in enumerate(charts.items()):
        parts += [
            f'<g transform="translate({_WIDTH * number} 0)">',
            *_chart(title, curves, colours, ticks, x_name, y_name),
        ]
        parts.append("</g>")
    for number, (name, colour) in enumerate(colours.items()):
        y = _TOP + _HEIGHT + _BELOW + _LINE * (number + 0.5)
        parts.append(f'<path d="M{_LEFT} {y:.0f}h24" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<text x="{_LEFT + 32}" y="{y + 4.5:.1f}">{html.escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _chart(
    title: str,
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    colours: Mapping[str, str],
    ticks: Sequence[float],
    x_name: str,
    y_name: str,
) -> list[str]:
    """One chart, its corner at (0, 0)."""
    places = list(dict.fromkeys(x for curve in curves.values() for x in curve))
    bottom, plot = _TOP + _HEIGHT, _WIDTH - _LEFT - _RIGHT

    def across(x: str) -> float:
        return _LEFT + plot * (places.index(x) + 0.5) / len(places)

    def down(value: float) -> float:
        return bottom - _HEIGHT * (value - ticks[0]) / (ticks[-1] - ticks[0])

    parts = [f'<text x="{_LEFT}" y="22" font-weight="600">{html.escape(title)}</text>']
    for tick in ticks:
        parts.append(f'<path d="M{_LEFT} {down(tick):.1f}h{plot}" stroke="{_GRID}"/>')
        parts.append(
            f'<text x="{_LEFT - 8}" y="{down(tick) + 4.5:.1f}" text-anchor="end" fill="{_GREY}">{tick:g}</text>'
        )
    for x in places:
        parts.append(
            f'<text x="{across(x):.1f}" y="{bottom + 18}" text-anchor="middle" fill="{_GREY}">{html.escape(x)}</text>'
        )
    parts.append(
        f'<text x="{_LEFT + plot / 2:.0f}" y="{bottom + 37}" text-anchor="middle" fill="{_GREY}">'
        f"{html.escape(x_name)}</text>"
    )
    middle = _TOP + _HEIGHT / 2
    parts.append(
        f'<text x="16" y="{middle:.0f}" transform="rotate(-90 16 {middle:.0f})" text-anchor="middle" fill="{_GREY}">'
        f"{html.escape(y_name)}</text>"
    )
    for name, curve in curves.items():
        means = {x: sum(there) / len(there) for x, there in curve.items()}
        ordered = sorted(means, key=places.index)
        line = " ".join(f"{across(x):.1f},{down(means[x]):.1f}" for x in ordered)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colours[name]}" stroke-width="2.5"/>')
        parts += [
            f'<circle cx="{across(x):.1f}" cy="{down(value):.1f}" r="3.5" fill="{colours[name]}" fill-opacity=".7">'
            f"<title>{html.escape(f'{name}, {x}: {value:.2f}')}</title></circle>"
            for x in ordered
            for value in curve[x]
        ]
    return parts
