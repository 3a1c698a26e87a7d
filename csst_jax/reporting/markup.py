"""Pieces of HTML that all sections use."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from csst_jax.runtime.storage import StoragePath

_QUALITY = 80
LEAST_DIFFERENCE = 0.0005
"""Of shares; smaller ones are shown as 0.0 points."""


def escaped(text: object) -> str:
    """Text as HTML."""
    return html.escape(str(text))


def isolated(text: object) -> str:
    """Text as HTML inside a sentence: a name that is written from right to left does not turn what follows."""
    return f"<bdi>{escaped(text)}</bdi>"


def section(title: str, *parts: str, name: str = "") -> str:
    """A section with a heading; empty where it has no part."""
    body = "\n".join(part for part in parts if part)
    return f'<section id="{name}"><h2>{title}</h2>\n{body}\n</section>' if body else ""


def folded(title: str, *parts: str) -> str:
    """What only some want to see, behind a line that opens it; empty where there is nothing."""
    body = "\n".join(part for part in parts if part)
    return f"<details><summary>{title}</summary>\n{body}\n</details>" if body else ""


def table(header: Sequence[str], rows: Iterable[tuple[Sequence[str], str]], kind: str = "") -> str:
    """A table. A header that begins with ">" stands above numbers, one with "|" above bars, which phones leave out.

    A cell is HTML, with or without its td.
    """
    kinds = {">": ' class="n"', "|": ' class="bars"'}
    head = "".join(f"<th{kinds[h[0]]}>{h[1:]}</th>" if h[:1] in kinds else f"<th>{h}</th>" for h in header)
    body = "\n".join(
        f'<tr class="{row}">' + "".join(c if c.startswith("<td") else f"<td>{c}</td>" for c in cells) + "</tr>"
        for cells, row in rows
    )
    scores = f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>'
    return f'<div class="wide">{scores}</div>'


def number(text: str, kind: str = "") -> str:
    """A cell of a table that holds a number."""
    return f'<td class="n {kind}">{text}</td>'


def bars(made: str) -> str:
    """A cell of a table that holds bars."""
    return f'<td class="bars"><div class="track">{made}</div></td>'


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent; a dash for none."""
    return "–" if value is None or value != value else f"{100 * value:.{digits}f}"


def points(value: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    shown = round(100 * value, 1) + 0.0  # never −0.0
    return f"{shown:+.1f}".replace("-", "−")


def duration(seconds: float) -> str:
    """A time in words: "6 min 42 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def embedded(path: StoragePath, widest: int, alt: str = "") -> str:
    """A PNG inside the page, at most `widest` pixels wide: as WebP where that is smaller.

    Empty where there is none, or one that is damaged: the page then does without.
    """
    if not path.is_file():
        return ""
    stored = path.read_bytes()
    stream = io.BytesIO()
    try:
        with Image.open(io.BytesIO(stored)) as picture:
            smaller = picture.convert("RGB")
    except OSError:
        return ""
    smaller.thumbnail((widest, 20 * widest))
    smaller.save(stream, "WEBP", quality=_QUALITY)
    made = stream.getvalue()
    return image(made, "webp", alt) if len(made) < len(stored) else image(stored, "png", alt)


def image(stored: bytes, form: str, alt: str = "", kind: str = "") -> str:
    """An encoded picture inside the page."""
    data = base64.b64encode(stored).decode()
    return f'<img class="{kind}" alt="{escaped(alt)}" loading="lazy" src="data:image/{form};base64,{data}">'
