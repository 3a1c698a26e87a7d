"""Data, command and versions, and the three stages with their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csst_jax.reporting import verdict
from csst_jax.reporting.charts import COLOURS
from csst_jax.reporting.markup import duration, escaped, folded, percent, section

if TYPE_CHECKING:
    from csst_jax.reporting.collected import Collected, Network

_ORIGINS = {"real": "masks", "pseudo": "pseudo labels", "unlabelled": "unlabelled"}


def stages(run: Collected) -> str:
    """The paper's three stages as boxes, and the control where there is one."""
    boxes = [_data(run), _network(run, "teacher"), _labels(run), _network(run, "student"), _network(run, "baseline")]
    arrows = '<div class="arrow" aria-hidden="true">→</div>'
    return section("The stages", f'<div class="stages">{arrows.join(box for box in boxes if box)}</div>', name="stages")


def _network(run: Collected, name: str) -> str:
    network = run.networks.get(name)
    if network is None:
        return "" if name == "baseline" or not run.asks_for(name) else _box(name, COLOURS[name], "–", ["not begun"])
    score = f"{percent(network.scores['miou'])} %" if network.scores else "…"
    lines = ["mIoU" if network.scores else _state(network)]
    trained = network.plan.get("images", {})
    if trained:
        lines.append("trained on " + " and ".join(f"{n:,} {_ORIGINS.get(o, o)}" for o, n in trained.items()))
    facts = [network.done.get("network") or network.plan.get("network", "")]
    facts += [f"{network.steps:,} steps"] if network.steps is not None else []
    facts += [duration(network.done["wall_s"])] if "wall_s" in network.done else []
    alone = ": masks alone, as many steps" if verdict.no_other_images(network) else ": the teacher, as many steps"
    title = name + alone * (name == "baseline")
    return _box(title, COLOURS[name], score, [*lines, ", ".join(filter(None, facts))])


def _data(run: Collected) -> str:
    data = run.record.get("data") or run.results.get("data")
    if not data:
        return ""
    return _box("masks", "#c77f1a", f"{data['labelled']:,}", [f"and {data['unlabelled']:,} images without"])


def _state(network: Network) -> str:
    if network.done:
        return "trained, not evaluated yet"
    step = network.lines[-1]["step"] if network.lines else 0
    return f"in training: step {step:,}" + (f" of {network.steps:,}" if network.steps else "")


def _labels(run: Collected) -> str:
    found = run.labels
    if not found and not run.asks_for("label"):
        return ""
    if not found:
        return _box("pseudo labels", "#9aa3af", "–", ["not made"])
    lines = ["images labelled by the teacher"]
    if "ignored_share" in found:
        lines.append(f"{percent(found['ignored_share'], 0)} % of the pixels void: too uncertain")
    if "wall_s" in found:
        lines.append(duration(found["wall_s"]))
    return _box("pseudo labels", "#2f8a57", f"{found.get('images', 0):,}", lines)


def _box(title: str, colour: str, big: str, lines: list[str]) -> str:
    small = "".join(f"<small>{escaped(line)}</small>" for line in lines if line)
    return (
        f'<div class="stage" style="border-top-color:{colour}"><b>{escaped(title)}</b>'
        f'<span class="big">{escaped(big)}</span>{small}</div>'
    )


def facts(run: Collected) -> str:
    """Data, command, dates and versions."""
    data = run.record.get("data") or run.results.get("data", {})
    rows: dict[str, str] = {}
    if data:
        rows["data set"] = escaped(data.get("name", ""))
        rows["images"] = (
            f"{data['labelled']:,} with masks, {data['unlabelled']:,} in the unlabelled pool, "
            f"{data['validation']:,} for validation"
        )
    if data.get("sizes"):
        rows["image sizes"] = escaped(data["sizes"])
    if run.classes:
        rows["classes"] = classes(run)
    record = run.record
    rows |= {"command": f"<code>{escaped(record['command'])}</code>"} if "command" in record else {}
    rows |= {"begun": escaped(record["begun"])} if "begun" in record else {}
    rows["workdir"] = f"<code>{escaped(run.name)}</code>"
    listed = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in rows.items())
    versions = record.get("versions", {})
    more = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(text)}</dd>" for name, text in versions.items())
    return section(
        "Data and run",
        f'<dl class="facts">{listed}</dl>',
        folded("Versions and devices", f'<dl class="facts">{more}</dl>' if more else ""),
        name="data",
    )


def classes(run: Collected) -> str:
    """The classes with their colours, where these are known."""
    palette = run.record.get("data", {}).get("palette", [])
    if len(palette) != len(run.classes):
        return escaped(", ".join(run.classes))
    keys = "".join(
        f'<span><span class="key" style="background:rgb{tuple(colour)}"></span>{escaped(name)}</span>'
        for name, colour in zip(run.classes, palette, strict=True)
    )
    return f'<div class="keys">{keys}<span><span class="key" style="background:#000"></span>void</span></div>'
