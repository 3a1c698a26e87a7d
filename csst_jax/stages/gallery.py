"""Examples as files that the report embeds: small photos, and class maps as PNGs with the classes' colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from csst_jax.evaluation.agreement import mean_iou
from csst_jax.reporting.gallery import DIRECTORY, INDEX, MOST_WORST
from csst_jax.runtime.json_files import write_json
from csst_jax.runtime.storage import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from csst_jax.runtime.storage import StoragePath
    from csst_jax.stages.evaluate import Example

_WIDEST_PX, _QUALITY = 720, 80


def write(
    workdir: StoragePath,
    normal: Sequence[Example],
    worst: Sequence[Example],
    captions: Mapping[int, str],
    palette: Sequence[tuple[int, int, int]],
) -> None:
    """Writes the report's gallery; the index last.

    Args:
      workdir: the run's.
      normal: examples that were chosen evenly.
      worst: those in which a class is worst.
      captions: what to say of the latter, by record.
      palette: one RGB colour a class.
    """
    directory, index = workdir / DIRECTORY, []
    for kind, examples in (("normal", normal), ("worst", worst[:MOST_WORST])):
        for number, one in enumerate(examples):
            stem = f"{kind}_{number:02d}"
            _write(directory, stem, one, palette)
            index.append({"file": stem, "kind": kind, "id": one.id, "said": captions.get(one.record, one.id)})
            if kind == "normal":
                index[-1]["said"] = f"{one.id}: {_scored(one, len(palette))}"
    networks = list(next(iter([*normal, *worst])).predictions) if index else []
    write_json(directory / INDEX, {"networks": networks, "examples": index})


def _write(directory: StoragePath, stem: str, one: Example, palette: Sequence[tuple[int, int, int]]) -> None:
    height, width = one.label.shape
    scale = min(1.0, _WIDEST_PX / width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    with replacing(directory / f"{stem}_image.webp") as made:
        Image.fromarray(one.image).resize(size, Image.Resampling.BOX).save(made, "WEBP", quality=_QUALITY)
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    for name, classes in {"truth": one.label, **one.predictions}.items():
        picture = Image.fromarray(classes, "P")
        picture.putpalette(colours.ravel().tolist())
        with replacing(directory / f"{stem}_{name}.png") as made:
            picture.resize(size, Image.Resampling.NEAREST).save(made, "PNG", optimize=True)


def _scored(one: Example, num_classes: int) -> str:
    """What networks reach in the image. Of a crack in 2 % of the pixels a share of right pixels would say nothing."""
    shares = {name: mean_iou(classes, one.label, num_classes) for name, classes in one.predictions.items()}
    return "mIoU of this image: " + ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
