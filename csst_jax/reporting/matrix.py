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
    judged = [
        name for name in ("student", "baseline", "teacher") if "confusion" in run.networks.get(name, _NONE).scores
    ]
    if not judged:
        return ""
    counts = np.asarray(run.networks[judged[0]].scores["confusion"])
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names = [escaped(name) for name in run.classes]
    head = "".join(f'<th class="up">{name}</th>' for name in names)
    body = "".join(
        f"<tr><th>{name}</th>{''.join(_cell(value, len(names)) for value in row)}</tr>"
        for name, row in zip(names, share, strict=True)
    )
    rows = f"<thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody>"
    note = f"{judged[0]}: rows are the ground truth, columns the prediction, in percent of the row."
    return section(
        "Confusion matrix",
        f'<p class="note">{note}</p>',
        f'<div class="wide"><table class="matrix">{rows}</table></div>',
        name="confusion",
    )


def _cell(value: float, classes: int) -> str:
    colour = tuple((_EMPTY + (_FULL - _EMPTY) * value).round().astype(int).tolist())
    text = f"{100 * value:.0f}" if round(100 * value) and classes <= _WITH_NUMBERS else ""
    return f'<td class="c" style="background:rgb{colour};color:{"#fff" if value > 0.5 else "#20242b"}">{text}</td>'


class _Nothing:
    scores: dict = {}  # noqa: RUF012


_NONE = _Nothing()
