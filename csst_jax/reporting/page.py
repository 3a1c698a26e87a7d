"""The page around the sections: style and a script of a few lines, inside the file; nothing is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csst_jax.reporting.markup import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable

_STYLE = """
:root { --ink: #20242b; --soft: #5f6875; --line: #d9dee5; --tint: #f4f6f9; --blue: #1f5fb4; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink); background: #fff;
  max-width: 1080px; margin: 0 auto; padding: 20px 16px 60px; overflow-wrap: anywhere; }
h1 { font-size: 1.5em; margin: 0 0 .4em; } h2 { font-size: 1.2em; margin: 2.2em 0 .5em; }
h3 { font-size: 1em; margin: 1.6em 0 .4em; }
.lead { font-size: 1.12em; max-width: 48em; margin: 0 0 .6em; }
.note { color: var(--soft); max-width: 52em; margin: .3em 0 .8em; }
.caution { border-left: 4px solid #d99a1c; background: #fdf6e6; padding: .5em .8em; margin: .6em 0; max-width: 52em; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .3em 0; }
th, td { padding: 3px 12px 3px 0; text-align: left; vertical-align: middle; overflow-wrap: normal; }
th { border-bottom: 1px solid #9aa3af; font-weight: 600; white-space: nowrap; }
td:first-child { max-width: 22em; overflow-wrap: break-word; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.mean td { border-top: 1px solid #9aa3af; font-weight: 600; }
.up { color: #14713d; } .down { color: #b02a1c; } .unsure { color: var(--soft); font-weight: 400; }
.track { width: 190px; background: #eef1f5; position: relative; } .bar { height: 7px; margin: 1px 0; }
.key { display: inline-block; width: 12px; height: 12px; margin: 0 5px 0 0; vertical-align: -1px; border-radius: 2px; }
.keys { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: .3em 0 .6em; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: .4em 0; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; } code { font-size: .92em; }
.stages { display: flex; flex-wrap: wrap; align-items: stretch; gap: 8px; margin: .6em 0; }
.stage { flex: 1 1 170px; border: 1px solid var(--line); border-top: 4px solid #9aa3af; border-radius: 6px;
  padding: 8px 12px; background: var(--tint); }
.stage b { display: block; } .stage .big { font-size: 1.5em; font-weight: 600; line-height: 1.3; }
.stage small { color: var(--soft); display: block; } .arrow { align-self: center; color: #9aa3af; font-size: 1.3em; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); gap: 12px 24px; }
figure { margin: 0; } figcaption { color: var(--soft); } .chart figcaption { color: var(--ink); font-weight: 600; }
.chart svg { width: 100%; height: auto; display: block; }
img { max-width: 100%; height: auto; display: block; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); gap: 18px 20px; }
.pair { position: relative; background: #000; overflow: hidden; }
.pair img { width: 100%; position: relative; } .pair img.map { image-rendering: pixelated; }
.pair img:not(.base) { position: absolute; inset: 0; height: 100%; visibility: hidden; }
.pair img.left, .pair img.right { visibility: visible; } .pair img.base:not(.left):not(.right) { visibility: hidden; }
.pair img.left { clip-path: inset(0 calc(100% - var(--at, 50%)) 0 0); z-index: 2; }
.pair.overlay img.right { opacity: .55; } .pair.overlay img.under { visibility: visible !important; clip-path: none; }
.pair .edge { position: absolute; top: 0; bottom: 0; left: var(--at, 50%); width: 2px; background: #fff; z-index: 3;
  box-shadow: 0 0 3px #000; pointer-events: none; }
.pair input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0;
  cursor: ew-resize; z-index: 4; }
.pair:focus-within .edge { background: #ffd54a; }
.tools { display: flex; flex-wrap: wrap; gap: 4px 12px; margin: 4px 0 0; font-size: .9em; align-items: center; }
.tools label { white-space: nowrap; } select { font: inherit; max-width: 11em; }
.matrix td.c { width: 34px; min-width: 34px; height: 30px; text-align: center; padding: 0; font-size: 12px;
  font-variant-numeric: tabular-nums; border: 1px solid #fff; }
.matrix th { border: 0; font-weight: 400; max-width: 22em; overflow: hidden; text-overflow: ellipsis; }
.matrix tbody th { position: sticky; left: 0; background: #fff; } .matrix.many th { font-size: 11px; }
.matrix.many td.c { width: 15px; min-width: 15px; height: 15px; }
.matrix th.up span { display: block; max-height: 22em; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.matrix th.up { color: inherit; writing-mode: vertical-rl;
  transform: rotate(180deg); padding: 6px 0 0; vertical-align: bottom; }
details { margin: .8em 0; border-top: 1px solid var(--line); padding-top: .5em; }
summary { cursor: pointer; font-weight: 600; }
.strip { display: flex; gap: 6px; overflow-x: auto; padding-bottom: 6px; margin-bottom: 10px; }
.strip figure { flex: 0 0 150px; } .strip img { width: 150px; }
@media (max-width: 480px) { body { padding: 12px 10px 40px; } .facts { grid-template-columns: 1fr; }
  .facts dd { margin-bottom: 4px; }
  .arrow, .bars { display: none; } th, td { padding-right: 6px; } th, th.n { white-space: normal; }
  td:first-child { max-width: 9em; }
  table { font-size: .94em; }
  .track { width: 110px; } .keys { gap: 3px 12px; } }
@media print { details { display: block; } }
"""

_SCRIPT = """
document.querySelectorAll('.view').forEach(view => {
  const pair = view.querySelector('.pair'), [left, right] = view.querySelectorAll('select');
  const range = view.querySelector('input[type=range]'), overlay = view.querySelector('input[type=checkbox]');
  const show = () => {
    pair.querySelectorAll('img').forEach(img => {
      img.classList.toggle('left', img.dataset.kind === left.value);
      img.classList.toggle('right', img.dataset.kind === right.value);
    });
    pair.classList.toggle('overlay', overlay.checked);
    pair.style.setProperty('--at', range.value + '%');
  };
  [left, right, range, overlay].forEach(control => control.addEventListener('input', show));
  show();
});
"""


def page(title: str, sections: Iterable[str]) -> str:
    """The whole file."""
    body = "\n".join(part for part in sections if part)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escaped(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,"><style>{_STYLE}</style></head>\n'
        f"<body>\n<h1>{escaped(title)}</h1>\n{body}\n<script>{_SCRIPT}</script>\n</body></html>\n"
    )
