"""Several runs on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csst_jax.evaluation.table import in_one_mean
from csst_jax.reporting import charts, verdict
from csst_jax.reporting.markup import bars, escaped, number, percent, points, section, table
from csst_jax.reporting.scores import bar, difference
from csst_jax.runtime.json_files import differences, shared
from csst_jax.runtime.storage import told_apart
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.reporting.collected import Collected, Network

_MOST_DIFFERENCES = 40


def sections(runs: Sequence[Collected]) -> list[str]:
    """Of the page.

    Raises:
      CsstError: the runs' classes differ, or a workdir is given twice.
    """
    names = told_apart([run.workdir for run in runs])
    judged = {name: run for name, run in zip(names, runs, strict=True) if run.judged}
    classes = {name: run.classes for name, run in judged.items()}
    for name, own in classes.items():
        if own != next(iter(classes.values())):
            raise CsstError(f"{name} has other classes than {next(iter(classes))}; compare runs of the same classes.")
    colours = [charts.OTHERS[i % len(charts.OTHERS)] for i in range(len(names))]
    return [
        _lead(judged),
        _table(names, runs),
        _by_class(judged, dict(zip(names, colours, strict=True))),
        _curves(names, runs, colours),
        _settings(names, runs),
    ]


def last(run: Collected) -> Network:
    """The network that a run is for: its student, or what it has."""
    return run.judged.get("student") or list(run.judged.values())[-1]


def _lead(judged: dict[str, Collected]) -> str:
    if not judged:
        return '<p class="lead">None of these runs is evaluated yet.</p>'
    best, run = max(judged.items(), key=lambda item: last(item[1]).scores["miou"])
    said = f"<b>{escaped(best)}</b> has the highest mIoU: {percent(last(run).scores['miou'])} % ({last(run).name})."
    said += _runner_up(judged, best)
    scored = [network for run in judged.values() for network in run.judged.values() if network.counts is not None]
    sets = {network.ids for network in scored}
    found = [f'<p class="lead">{said}</p>']
    if len(sets) > 1:
        found.append(
            '<p class="caution">The runs were judged on different validation images: scores cannot be compared.</p>'
        )
    elif len({_masks(network) for network in scored}) > 1:
        found.append(
            '<p class="caution">The runs were judged with different masks of the same images: scores '
            "cannot be compared.</p>"
        )
    count = min((len(ids) for ids in sets), default=0)
    if 0 < count < verdict.FEW_IMAGES:
        found.append(
            f'<p class="caution">Only {verdict.few_images(count)}. Other seeds of the same settings differ as well: '
            "compare several.</p>"
        )
    return "\n".join(found)


def _masks(network: Network) -> bytes:
    """Each image's pixels of each class: other masks have others."""
    assert network.counts is not None
    return network.counts[:, 1].tobytes()


def _runner_up(judged: dict[str, Collected], best: str) -> str:
    """Whether the best one's lead is significant."""
    others = {name: run for name, run in judged.items() if name != best}
    if not others:
        return ""
    name, second = max(others.items(), key=lambda item: last(item[1]).scores["miou"])
    first = last(judged[best])
    lead = f" {escaped(name)} follows with {points(last(second).scores['miou'] - first.scores['miou'])} points"
    found = verdict.gain(first, last(second))
    if found is None:
        return f"{lead}. Whether that is significant is unknown: {verdict.why_not_told(first, last(second))}."
    significant = "a significant difference on these images" if found[0].sure else "<b>no significant difference</b>"
    return f"{lead}, {significant}."


def _table(names: Sequence[str], runs: Sequence[Collected]) -> str:
    reference = next((run for run in runs if run.judged), None)
    rows = []
    for name, run in zip(names, runs, strict=True):
        data = run.record.get("data") or run.results.get("data", {})
        cells = [escaped(name), number(str(data.get("labelled", "–"))), number(str(data.get("unlabelled", "–")))]
        for network in ("teacher", "baseline", "student"):
            cells.append(number(percent(run.judged[network].scores["miou"]) if network in run.judged else "–"))
        if reference is None or run is reference or not run.judged:
            cells += [number("–"), number("–")]
        else:
            found = verdict.gain(last(run), last(reference))
            uneven = in_one_mean(last(run).scores["iou"], last(reference).scores["iou"])
            other = None if uneven else last(reference).scores["miou"]
            cells += difference(last(run).scores["miou"], other, found[0] if found else None)
        rows.append((cells, ""))
    header = ["run", ">masks", ">pool", ">teacher", ">baseline", ">student", ">against the first", ">95 % interval"]
    note = "mIoU in percent; differences in percentage points, of the student or of what a run has in its place."
    return section("Runs", table(header, rows), f'<p class="note">{note}</p>')


def _by_class(judged: dict[str, Collected], colours: dict[str, str]) -> str:
    if not judged:
        return ""
    keys = "".join(
        f'<span><span class="key" style="background:{colours[name]}"></span>{escaped(name)}</span>' for name in judged
    )
    rows = []
    for klass in next(iter(judged.values())).classes:
        values = {name: last(run).scores["iou"].get(klass) for name, run in judged.items()}
        drawn = "".join(bar(value, colours[name]) for name, value in values.items())
        cells = [escaped(klass), bars(drawn), *(number(percent(v)) for v in values.values())]
        rows.append((cells, ""))
    values = {name: last(run).scores["miou"] for name, run in judged.items()}
    drawn = "".join(bar(value, colours[name]) for name, value in values.items())
    rows.append((["mIoU", bars(drawn), *(number(percent(v)) for v in values.values())], "mean"))
    header = ["class", "|0 to 100 %", *(f">{escaped(name)}" for name in judged)]
    return section(
        "Intersection over union by class, in percent", f'<div class="keys">{keys}</div>', table(header, rows)
    )


def _curves(names: Sequence[str], runs: Sequence[Collected], colours: Sequence[str]) -> str:
    parts = []
    for stage in ("teacher", "student"):
        own = {n: run.networks[stage] for n, run in zip(names, runs, strict=True) if stage in run.networks}
        shown = [colours[names.index(name)] for name in own]
        loss = {n: [(line["step"], line["loss"]) for line in network.lines] for n, network in own.items()}
        scores = {n: [(s["step"], 100 * s["miou"]) for s in w.watched.get("scores", [])] for n, w in own.items()}
        title = f"{stage}: mIoU of a few validation images, %"
        parts.append(charts.lines(f"{stage}: loss", loss, shown, legend=True))
        parts.append(charts.lines(title, scores, shown, unit=" %", dots=True, legend=True))
    made = "".join(parts)
    return section("Learning curves", f'<div class="charts">{made}</div>' if made else "")


def _settings(names: Sequence[str], runs: Sequence[Collected]) -> str:
    """What the later runs' configurations have otherwise than the first one's."""
    parts = []
    for name, run in zip(names[1:], runs[1:], strict=True):
        # Keys that one of the versions does not know say nothing.
        first, other = shared(runs[0].config, run.config)
        found = differences(first, other, f"in {name}")
        more = [f"… and {len(found) - _MOST_DIFFERENCES} more"] if len(found) > _MOST_DIFFERENCES else []
        lines = [line.replace(" there, ", f" in {names[0]}, ") for line in found[:_MOST_DIFFERENCES]] + more
        listed = "".join(f"<li><code>{escaped(line)}</code></li>" for line in lines) or "<li>nothing</li>"
        parts.append(f"<h3>{escaped(name)}</h3><ul>{listed}</ul>")
    return section(f"Settings that differ from {escaped(names[0])}", *parts)
