"""Charts as SVG inside the page (docs/adr/0019-charts-are-svg.md); values show when one points at them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLOURS = {"teacher": "#7b8494", "baseline": "#c77f1a", "student": "#1f5fb4"}
OTHERS = ("#1f5fb4", "#c77f1a", "#2f8a57", "#a5449b", "#7b8494", "#b5452f", "#4a4ab0", "#5b7f1c")
"""Of runs that are compared."""
_SIZE = (370, 215)
_MOST_LETTERS = 25
"""Of a name beside bars."""

Points = list[tuple[float, float | None]]


def lines(
    title: str,
    curves: Mapping[str, Points],
    colours: Sequence[str],
    *,
    unit: str = "",
    dots: bool = False,
    from_zero: bool = False,
    legend: bool = False,
) -> str:
    """A chart of curves over the step; empty where no curve has a point.

    Args:
      title: above it.
      curves: by name, (step, value).
      colours: of the curves, one each.
      unit: behind a value.
      dots: whether each point is to be seen.
      from_zero: whether the axis begins with 0.
      legend: whether to name a single curve, too.
    """
    shown = {name: [(x, _finite(y)) for x, y in points] for name, points in curves.items() if points}
    if not shown:
        return ""
    own = [colour for colour, points in zip(colours, curves.values(), strict=True) if points]
    chart = _chart("XY", own, legend or len(shown) > 1, show_dots=True, dots_size=3.2 if dots else 1.4)
    chart.value_formatter = lambda value: _short(value, unit)
    values = [y for points in shown.values() for _, y in points if y is not None]
    if not values:
        return ""
    flat = from_zero or min(values) == max(values)
    chart.y_labels = _ticks(min(values) if not flat else min(0.0, *values), max(values))
    chart.x_labels = _ticks(0, max(x for points in shown.values() for x, _ in points))
    chart.x_value_formatter = lambda value: f"{value:,.0f}"
    for name, points in shown.items():
        chart.add(name, points)
    return _figure(title, chart)


def bars(title: str, names: Sequence[str], series: Mapping[str, Sequence[float | None]], colours: Sequence[str]) -> str:
    """A chart of horizontal bars, a group for each name."""
    if not names or not series:
        return ""
    height = 60 + len(names) * (9 + 9 * len(series))
    chart = _chart("HorizontalBar", colours, len(series) > 1, height=height, spacing=3)
    series = {name: [_finite(value) for value in values] for name, values in series.items()}
    chart.x_labels = [_shortened(name) for name in reversed(names)]
    chart.value_formatter = lambda value: _short(value, " %")
    top = max((value for values in series.values() for value in values if value is not None), default=1)
    chart.y_labels = _ticks(0, max(top, 1e-9))
    for name, values in series.items():
        chart.add(name, list(reversed(values)))
    return _figure(title, chart)


def _shortened(name: str) -> str:
    """A long name without its middle, which leaves room for the bars."""
    half = (_MOST_LETTERS - 1) // 2
    return name if len(name) <= _MOST_LETTERS else f"{name[:half]}…{name[-half:]}"


def _chart(kind: str, colours: Sequence[str], legend: bool, height: int = _SIZE[1], **options: Any) -> Any:
    import pygal  # takes half a second: not for a page without charts
    from pygal.style import Style

    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground="#555",
        foreground_strong="#222",
        foreground_subtle="#ddd",
        guide_stroke_color="#e3e6ea",
        major_guide_stroke_color="#e3e6ea",
        guide_stroke_dasharray="0",
        major_guide_stroke_dasharray="0",
        opacity="1",
        opacity_hover=".7",
        transition="0s",
        colors=tuple(colours),
        font_family="system-ui, sans-serif",
        label_font_size=11,
        major_label_font_size=11,
        legend_font_size=12,
    )
    return getattr(pygal, kind)(
        style=style,
        width=_SIZE[0],
        height=height,
        margin=6,
        margin_right=18,
        truncate_legend=-1,
        js=[],
        disable_xml_declaration=True,
        legend_at_bottom=True,
        legend_box_size=9,
        show_legend=legend,
        no_data_text="",
        stroke_style={"width": 1.6},
        **options,
    )


def _figure(title: str, chart: Any) -> str:
    svg = chart.render(is_unicode=True)
    # What pygal keeps for its own script is what browsers show as a tooltip.
    svg = re.sub(r'<desc class="value">(.*?)</desc>', r"<title>\1</title>", svg)
    svg = re.sub(r"<desc class=[^>]*>.*?</desc>|<!--.*?-->|<title>Pygal</title>", "", svg, flags=re.S)
    svg = re.sub(r"<script.*?</script>", "", svg, flags=re.S)
    # Places of points to a hundredth of a pixel.
    svg = re.sub(r'="[^"]*"', lambda found: re.sub(r"(\d\.\d\d)\d+", r"\1", found[0]), svg)
    return f'<figure class="chart"><figcaption>{title}</figcaption>{svg}</figure>'


def _finite(value: float | None) -> float | None:
    """None, which leaves a gap, for what no axis can show: the loss of a step that was skipped."""
    return value if value is not None and math.isfinite(value) else None


def _ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values that cover a range."""
    span = max(high - low, abs(high) * 1e-6, 1e-12)
    power = 10.0 ** _floor_log10(span / about)
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= about)
    first = int(low // step)
    last = -int(-high // step)
    return [round(k * step, 12) for k in range(first, max(last, first + 1) + 1)]


def _floor_log10(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])


def _short(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:.4g}{unit}" if abs(value) < 10000 else f"{value:,.0f}{unit}"
