"""The networks class by class, with the gain and its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csst_jax.evaluation.table import in_one_mean
from csst_jax.reporting import verdict
from csst_jax.reporting.charts import COLOURS
from csst_jax.reporting.markup import LEAST_DIFFERENCE, bars, escaped, number, percent, points, section, table

if TYPE_CHECKING:
    from collections.abc import Collection

    from csst_jax.reporting.certainty import Interval
    from csst_jax.reporting.collected import Collected, Network

_OTHERS = (
    ("boundary mIoU", "boundary_miou"),
    ("pixel accuracy", "pixel_accuracy"),
    ("frequency-weighted IoU", "frequency_weighted_iou"),
)


def by_class(run: Collected) -> str:
    """Intersection over union of each network, and the student's gain over the others."""
    judged = run.judged
    if not judged:
        return ""
    others = [name for name in judged if name != "student"] if "student" in judged else []
    gains = {name: verdict.gain(judged["student"], judged[name]) for name in others}
    rows = []
    for position, name in enumerate(run.classes):
        sure = {other: found[1][position] if found else None for other, found in gains.items()}
        rows.append((_row(name, {n: network.scores["iou"].get(name) for n, network in judged.items()}, sure), ""))
    sure = {other: found[0] if found else None for other, found in gains.items()}
    iou = {name: network.scores["iou"] for name, network in judged.items()}
    uneven = {other: found for other in others if (found := in_one_mean(iou["student"], iou[other]))}
    rows.append((_row("mIoU", {n: network.scores["miou"] for n, network in judged.items()}, sure, uneven), "mean"))
    none = dict.fromkeys(others)
    for title, key in _OTHERS:
        if all(key in network.scores for network in judged.values()):
            values = {n: network.scores[key] for n, network in judged.items()}
            rows.append((_row(title, values, none, uneven if key == "boundary_miou" else ()), ""))
    header = ["class", "|0 to 100 %", *(f">{name}" for name in judged)]
    for other in others:
        header += [f">gain over {other}", ">95 % interval"]
    known = any(gains.values())
    note = (
        "Gains are percentage points. Intervals are of 2,000 resamples of the validation images (bootstrap, fixed "
        "seed), the same ones for both networks. A gain in grey is not statistically significant, because its interval "
        "contains zero, or is below 0.05 points. Each class is judged by itself: of twenty classes without a gain, "
        "chance gives one a colour."
        if known
        else ""
    )
    keys = "".join(_key(name, network) for name, network in judged.items())
    return section(
        "Scores: intersection over union, in percent",
        f'<div class="keys">{keys}</div>',
        table(header, rows),
        f'<p class="note">{note}</p>' if note else "",
        *(
            f'<p class="note">Means of student and {other} cannot be compared. {verdict.only_one_predicts(found)}.</p>'
            for other, found in uneven.items()
        ),
        name="scores",
    )


def _key(name: str, network: Network) -> str:
    facts = [network.done["network"]] if "network" in network.done else []
    facts += [f"{network.steps:,} steps"] if network.steps is not None else []
    words = f"{name} ({', '.join(facts)})" if facts else name
    return f'<span><span class="key" style="background:{COLOURS[name]}"></span>{escaped(words)}</span>'


def _row(
    name: str, values: dict[str, float | None], sure: dict[str, Interval | None], uneven: Collection[str] = ()
) -> list[str]:
    """Cells of a row; without the gain over networks whose mean does not compare."""
    drawn = "".join(bar(value, COLOURS[network]) for network, value in values.items())
    cells = [escaped(name), bars(drawn), *(number(percent(value)) for value in values.values())]
    for other, interval in sure.items():
        cells += difference(values["student"], None if other in uneven else values[other], interval)
    return cells


def difference(value: float | None, other: float | None, interval: Interval | None) -> list[str]:
    """Two cells: the difference in points, and its interval."""
    if value is None or other is None:
        return [number("–"), number("–")]
    if interval is None or interval.low != interval.low:
        return [number(points(value - other)), number("–")]
    shown = interval.sure and abs(value - other) >= LEAST_DIFFERENCE
    kind = "unsure" if not shown else "up" if value > other else "down"
    return [number(points(value - other), kind), number(f"{points(interval.low)} to {points(interval.high)}", "unsure")]


def bar(share: float | None, colour: str) -> str:
    """A bar of a share."""
    return f'<div class="bar" style="width:{100 * (share or 0):.1f}%;background:{colour}"></div>'
