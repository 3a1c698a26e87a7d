"""Writes a run's report: `python -m csst_jax.report --workdir=DIR` makes DIR/report.html from DIR/results.json.

The page holds its own style and no script; pictures are linked by relative paths, so a workdir can be moved or served
as it is.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence

from csst_jax.runtime.outputs import errors_told
from csst_jax.runtime.signals import tell_interruption
from csst_jax.runtime.storage import StoragePath, as_path, replacing
from csst_jax.types import CsstError

_MODELS = {"teacher": "#8a8f98", "baseline": "#d08c2e", "student": "#2463b0"}
_OTHERS = (
    ("boundary mIoU", "boundary_miou"),
    ("pixel accuracy", "pixel_accuracy"),
    ("frequency-weighted IoU", "frequency_weighted_iou"),
)
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1120px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: 0; } h2 { font-size: 1.15em; margin: 2em 0 .5em; }
table { border-collapse: collapse; } th, td { padding: 3px 12px 3px 0; text-align: left; vertical-align: middle; }
th { border-bottom: 1px solid #999; font-weight: 600; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
tr.mean td { border-top: 1px solid #999; font-weight: 600; } .up { color: #14713d; } .down { color: #b02a1c; }
.track { width: 260px; background: #eef0f3; } .bar { height: 7px; margin: 1px 0; } .note { color: #666; }
figure { margin: 0 0 1.5em; } img { max-width: 100%; border: 1px solid #ccc; } figcaption { color: #666; }
.key { display: inline-block; width: 12px; height: 12px; margin: 0 4px 0 12px; vertical-align: -1px; }
"""


def write_report(workdir: str | os.PathLike[str]) -> StoragePath:
    """Writes workdir/report.html from results.json, pictures/*.png and pseudo_labels/contact_sheet.png, atomically.

    Parts of the results that a run does not have (a baseline, a student that is still to come) are left out.

    Returns:
      The report's path.

    Raises:
      CsstError: results.json is missing or is no JSON object.
    """
    workdir = as_path(workdir, "--workdir")
    results = _read_results(workdir / "results.json")
    sheet = workdir / "pseudo_labels" / "contact_sheet.png"
    pictures = [*sorted((workdir / "pictures").glob("*.png")), *([sheet] if sheet.is_file() else [])]
    title = f"csst_jax: {workdir.name}"
    sections = [
        _scores(results),
        _pseudo_labels(results.get("pseudo_labels")),
        _pictures([p.relative_to(workdir).as_posix() for p in pictures]),
        _compilations(results.get("compilations")),
        _wall(results.get("wall_s")),
    ]
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        f"<body>\n<h1>{html.escape(title)}</h1>\n" + "\n".join(s for s in sections if s) + "\n</body></html>\n"
    )
    path = workdir / "report.html"
    with errors_told(path), replacing(path) as made:
        made.write_text(page, encoding="utf-8")
    return path


def _read_results(path: StoragePath) -> dict:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CsstError(f"{path} does not exist; run the pipeline with this workdir first.") from None
    except ValueError as error:
        raise CsstError(f"{path} is not valid JSON ({error}); delete it and run the pipeline again.") from error
    if not isinstance(results, dict):
        raise CsstError(
            f"{path} holds a {type(results).__name__}, not an object; delete it and run the pipeline again."
        )
    return results


def _scores(results: Mapping) -> str:
    models = [name for name in _MODELS if results.get(name)]
    if not models:
        return ""
    others = [name for name in models if name != "student"] if "student" in models else []
    classes = list(dict.fromkeys(c for name in models for c in results[name]["iou"]))
    rows = [(c, {m: results[m]["iou"].get(c) for m in models}) for c in classes]
    rows.append(("mIoU", {m: results[m]["miou"] for m in models}))
    rows += [(name, {m: results[m].get(key) for m in models}) for name, key in _OTHERS if key in results[models[0]]]
    body = []
    for name, values in rows:
        cells = [html.escape(name), *(_number(_percent(values[m])) for m in models)]
        cells += [_difference(values["student"], values[other]) for other in others]
        bars = "".join(_bar(values[m], _MODELS[m]) for m in models)
        body.append(([*cells, f'<div class="track">{bars}</div>'], "mean" if name == "mIoU" else ""))
    header = ["class", *(f">{m}" for m in models), *(f">student − {other}" for other in others), "0 to 100 %"]
    key = "".join(
        f'<span class="key" style="background:{_MODELS[m]}"></span>{_describe(m, results[m])}' for m in models
    )
    return f"<h2>Intersection over union, in percent</h2>\n<p>{key}</p>\n{_table(header, body)}"


def _describe(model: str, result: Mapping) -> str:
    facts = [str(result["network"])] if "network" in result else []
    facts += [f"{result['steps']:,} steps"] if "steps" in result else []
    return html.escape(f"{model} ({', '.join(facts)})" if facts else model)


def _pseudo_labels(pseudo: Mapping | None) -> str:
    if not pseudo:
        return ""
    share, confidence = pseudo.get("class_share", {}), pseudo.get("mean_confidence", {})
    largest = max(share.values(), default=0) or 1
    body = []
    for name, value in share.items():
        bar = f'<div class="track">{_bar(value / largest, _MODELS["student"])}</div>'
        cells = [html.escape(name), _number(_percent(value, 2)), _number(_percent(confidence.get(name))), bar]
        body.append((cells, ""))
    facts = f"{pseudo['images']:,} images" if "images" in pseudo else ""
    ignored = ""
    if "ignored_share" in pseudo:
        void = _percent(pseudo["ignored_share"])
        ignored = f"; {void} % of the pixels are void, too unsure; the table has them under the class predicted"
    header = ["class", ">% of pixels", ">mean confidence, %", "relative to the largest"]
    return f'<h2>Pseudo labels</h2>\n<p class="note">{facts}{ignored}</p>\n{_table(header, body)}'


def _pictures(paths: Sequence[str]) -> str:
    figures = "\n".join(
        f'<figure><a href="{p}"><img src="{p}" alt="{p}"></a><figcaption>{p}</figcaption></figure>'
        for p in map(html.escape, paths)
    )
    return f"<h2>Pictures</h2>\n{figures}" if paths else ""


def _compilations(compilations: Mapping | None) -> str:
    if not compilations:
        return ""
    body = []
    for stage, report in compilations.items():
        for i, phase in enumerate(report.get("phases") or [{}]):
            gflops, mib = _scaled(phase.get("flops"), 1e9), _scaled(phase.get("memory_bytes"), 2**20)
            shape = [
                str(phase.get("crop_px", "–")),
                str(phase.get("global_batch", "–")),
                _scaled(phase.get("seconds"), 1),
            ]
            first = [html.escape(stage), _number(str(report["count"]))] if i == 0 else ["", ""]
            body.append(([*first, *map(_number, [*shape, gflops, mib])], ""))
    header = ["stage", ">compiled", ">crop, px", ">batch", ">seconds", ">GFLOP per step", ">memory, MiB"]
    return f"<h2>Compilations</h2>\n{_table(header, body)}"


def _wall(wall_s: Mapping | None) -> str:
    if not wall_s:
        return ""
    total = sum(wall_s.values()) or 1
    rows = [([html.escape(s), _number(f"{t:,.1f}"), f'<div class="track">{_bar(t / total, "#555")}</div>'], "")
            for s, t in wall_s.items()]  # fmt: skip
    rows.append((["total", _number(f"{sum(wall_s.values()):,.1f}"), ""], "mean"))
    return f"<h2>Wall time, in seconds</h2>\n{_table(['stage', '>seconds', 'share of the total'], rows)}"


def _table(header: Sequence[str], rows: Iterable[tuple[Sequence[str], str]]) -> str:
    """HTML of a table; a header that begins with ">" stands above numbers. A cell is HTML, with or without its td."""
    head = "".join(f'<th class="n">{h[1:]}</th>' if h.startswith(">") else f"<th>{h}</th>" for h in header)
    body = "\n".join(
        f'<tr class="{kind}">' + "".join(c if c.startswith("<td") else f"<td>{c}</td>" for c in cells) + "</tr>"
        for cells, kind in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _number(text: str) -> str:
    return f'<td class="n">{text}</td>'


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}"


def _scaled(value: float | None, unit: float) -> str:
    return "–" if value is None else f"{value / unit:,.1f}"


def _difference(value: float | None, other: float | None) -> str:
    if value is None or other is None:
        return _number("–")
    points = 100 * (value - other)
    return f'<td class="n {"up" if points > 0 else "down" if points < 0 else ""}">{points:+.1f}</td>'


def _bar(share: float | None, colour: str) -> str:
    return f'<div class="bar" style="width:{100 * (share or 0):.1f}%;background:{colour}"></div>'


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m csst_jax.report", description="Writes WORKDIR/report.html.")
    parser.add_argument("--helpfull", action="help", help=argparse.SUPPRESS)
    parser.add_argument("--workdir", required=True, help="directory of a run, with its results.json")
    try:
        print(write_report(parser.parse_args(arguments).workdir))
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    tell_interruption()
    sys.exit(main())
