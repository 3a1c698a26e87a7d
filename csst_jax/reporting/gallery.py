"""Images, masks and predictions, to be laid over each other; the worst ones after the others."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from csst_jax.reporting.markup import embedded, escaped, folded, image, section
from csst_jax.reporting.overview import classes

if TYPE_CHECKING:
    from csst_jax.reporting.collected import Collected
    from csst_jax.runtime.storage import StoragePath

DIRECTORY = "pictures/gallery"
INDEX = "gallery.json"
MOST_WORST = 8
"""Images in which a class is worst; of many classes, all of them would make a page that is slow to open."""


def normal(run: Collected) -> str:
    """Validation images that were chosen evenly."""
    shown = _views(run, "normal")
    note = (
        '<p class="note">Move the pointer over a picture to shift the border between the two views below it. '
        "In the difference, red is wrong and black is void.</p>"
    )
    if shown:
        return section("Gallery", note, classes(run), f'<div class="gallery">{shown}</div>', name="gallery")
    sheet = embedded(run.workdir / "pictures" / "validation.png", 1600, "validation images and predictions")
    return section("Gallery", sheet, name="gallery")


def worst(run: Collected) -> str:
    """For each class the image in which it comes out worst (the paper's Fig. 7)."""
    shown = _views(run, "worst")
    if shown:
        note = (
            '<p class="note">For each class the image with its lowest IoU, among images that show enough of the class; '
            f"{MOST_WORST} images at most. pictures/failures.png in the workdir has one for each class.</p>"
        )
        return section("Worst cases", note, f'<div class="gallery">{shown}</div>', name="worst")
    sheet = embedded(run.workdir / "pictures" / "failures.png", 1600, "images in which a class is worst")
    return folded("Worst cases: for each class the image with its lowest IoU", sheet)


def _views(run: Collected, kind: str) -> str:
    """Empty where there are none, or a file is missing or damaged: the contact sheet then shows them."""
    path = run.workdir / DIRECTORY / INDEX
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return "".join(_view(path.parent, one, index["networks"]) for one in index["examples"] if one["kind"] == kind)
    except (OSError, ValueError):
        return ""


def _view(directory: StoragePath, one: dict[str, Any], networks: list[str]) -> str:
    stem = one["file"]
    layers = {"image": image((directory / f"{stem}_image.webp").read_bytes(), "webp", one["id"], "base under")}
    maps = {name: (directory / f"{stem}_{name}.png").read_bytes() for name in ("truth", *networks)}
    layers |= {name: image(stored, "png", name, "map") for name, stored in maps.items()}
    for name in networks:
        layers[f"{name} is wrong"] = image(
            _difference(maps["truth"], maps[name]), "png", f"where {name} is wrong", "map"
        )
    kinds = {kind: kind if kind in ("image", "truth") or "wrong" in kind else f"{kind} predicts" for kind in layers}
    pictures = "".join(
        layer.replace("<img ", f'<img data-kind="{escaped(kind)}" ', 1) for kind, layer in layers.items()
    )
    last = networks[-1]
    left, right = _select(kinds, "image", "left"), _select(kinds, last, "right")
    slider = f'<input type="range" min="0" max="100" value="50" aria-label="border in {escaped(one["id"])}">'
    return (
        f'<figure class="view"><div class="pair">{pictures}<span class="edge"></span>{slider}</div>'
        f'<div class="tools">{left} {right} <label><input type="checkbox"> over the image</label></div>'
        f"<figcaption>{escaped(one['said'])}</figcaption></figure>"
    )


def _select(kinds: dict[str, str], chosen: str, side: str) -> str:
    options = "".join(
        f'<option value="{escaped(kind)}"{" selected" * (kind == chosen)}>{escaped(words)}</option>'
        for kind, words in kinds.items()
    )
    return f'<label>{side} <select aria-label="{side}">{options}</select></label>'


def _difference(truth: bytes, prediction: bytes) -> bytes:
    """Red where class maps differ, on light grey; void is black. The maps are PNGs of class numbers with a palette."""
    true, predicted = (np.asarray(Image.open(io.BytesIO(stored))) for stored in (truth, prediction))
    wrong = np.where(true == 255, 0, np.where(true == predicted, 1, 2)).astype(np.uint8)
    picture = Image.fromarray(wrong, "P")
    picture.putpalette([0, 0, 0, 225, 225, 225, 200, 30, 30])
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()
