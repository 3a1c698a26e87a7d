"""Time and compilations, folded away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csst_jax.reporting.markup import duration, escaped, folded, number, table
from csst_jax.reporting.scores import bar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.reporting.collected import Collected


def costs(run: Collected) -> str:
    """Two tables that a click opens."""
    wall = run.results.get("wall_s") or {
        n: network.done["wall_s"] for n, network in run.networks.items() if "wall_s" in network.done
    }
    compiled = run.results.get("compilations") or {
        n: network.done["compilations"] for n, network in run.networks.items() if "compilations" in network.done
    }
    return folded("Time", _wall(wall)) + folded("Compilations", _compilations(compiled))


def _wall(wall_s: Mapping) -> str:
    if not wall_s:
        return ""
    total = sum(wall_s.values()) or 1
    rows = []
    for stage, seconds in wall_s.items():
        share = f'<div class="track">{bar(seconds / total, "#7b8494")}</div>'
        rows.append(([escaped(stage), number(duration(seconds)), share], ""))
    rows.append((["total", number(duration(sum(wall_s.values()))), ""], "mean"))
    return table(["stage", ">time", "share of the total"], rows)


def _compilations(compilations: Mapping) -> str:
    if not compilations:
        return ""
    body = []
    for stage, report in compilations.items():
        for i, phase in enumerate(report.get("phases") or [{}]):
            gflops, mib = _scaled(phase.get("flops"), 1e9), _scaled(phase.get("memory_bytes"), 2**20)
            shape = [str(phase.get(key, "–")) for key in ("crop_px", "global_batch")]
            first = [escaped(stage), number(str(report["count"]))] if i == 0 else ["", ""]
            body.append(([*first, *map(number, [*shape, _scaled(phase.get("seconds"), 1), gflops, mib])], ""))
    header = ["stage", ">compiled", ">crop, px", ">batch", ">seconds", ">GFLOP per step", ">memory, MiB"]
    return table(header, body)


def _scaled(value: float | None, unit: float) -> str:
    return "–" if value is None else f"{value / unit:,.1f}"
