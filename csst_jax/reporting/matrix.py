"""The confusion matrix as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from csst_jax.reporting.markup import escaped, section

if TYPE_CHECKING:
    from csst_jax.reporting.collected import Collected

_WITH_NUMBERS = 40
_EMPTY, _FULL = np.array([245, 247, 250]), np.array([23, 64, 120])


def confusion(run: Collected) -> str:
    """What share of each class's pixels the last network gives to which class."""
    judged = [name for name in ("student", "baseline", "teacher") if name in run.judged]
    shown = [name for name in judged if "confusion" in run.judged[name].scores]
    if not shown:
        return ""
    counts = np.asarray(run.judged[shown[0]].scores["confusion"])
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names = [escaped(name) for name in run.classes]
    many = len(names) > _WITH_NUMBERS
    kind = "matrix many" if many else "matrix"
    head = "".join(f'<th class="up"><span>{name}</span></th>' for name in names)
    body = "".join(
        f"<tr><th>{name}</th>"
        + "".join(_cell(v, f"{name} as {other}" if many else "") for v, other in zip(row, names, strict=True))
        + "</tr>"
        for name, row in zip(names, share, strict=True)
    )
    rows = f"<thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody>"
    note = f"{shown[0]}: rows are the ground truth, columns the prediction, in percent of the row."
    note += " Point at a cell to see its number." if many else ""
    return section(
        "Confusion matrix",
        f'<p class="note">{note}</p>',
        f'<div class="wide"><table class="{kind}">{rows}</table></div>',
        name="confusion",
    )


def _cell(value: float, title: str) -> str:
    """A share. With a title it has no room for its number, which then shows when one points at it."""
    colour = tuple((_EMPTY + (_FULL - _EMPTY) * value).round().astype(int).tolist())
    rounded = f"{100 * value:.0f}" if round(100 * value) else ""
    if title:
        told = f' title="{title}: {rounded} %"' if rounded else ""
        return f'<td class="c" style="background:rgb{colour}"{told}></td>'
    return f'<td class="c" style="background:rgb{colour};color:{"#fff" if value > 0.5 else "#20242b"}">{rounded}</td>'
