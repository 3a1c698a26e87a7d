"""The page and the chart that `benchmarks.sampling` writes from its logs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks import whole_file
from csst_jax.studying import curves, page
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Mapping

RARE = 0.02
"""Classes with a smaller share of the masks' pixels are rare."""
_DRAWN_FROM = 0.25
"""Below this share of the image's height the chart would be one steep line."""
_HEAD = """# When does centroid sampling pay?

Written by `python -m benchmarks.sampling page` from `logs/sampling-NAME.json`; do not edit.

Centroid sampling makes every class the centre of as many crops. What a network learns from are the pixels of these
crops. This page counts them in the masks, without training: each class's share of the crops' pixels under centroid
sampling, divided by its share under uniform sampling. 1 means that centroid sampling changes nothing. Crops are
scaled by 0.5 to 2, as in training. A crop's side is given as a share of the image's height, before scaling.

![How much centroid sampling raises the shares of rare classes, by the size of the crop](sampling.svg)

## What follows

* **The size of the crop beside the image decides**. A crop of an eighth of the height shows little but what it was
  drawn for: rare classes have 2 to 16 times the pixels. At half of the height it is 1.3 to 2.2 times. A crop as high
  as the image shows nearly everything wherever it lies, and the sampler changes little.
* **It pays most for the rarest class**. Bicyclists have 0.2 to 0.3 % of the masks' pixels. Poles have 1 %. But
  more than 75 % of uniform crops of half the height show a pole anyway.
* **Road and sky lose**. Their shares fall to 0.5 and 0.7 of the uniform ones in the smallest crops. Road still has
  16 % of the pixels there.
* **`configs/camvid.py` is where the sampler changes little**. Its crops of 224 on images of 480x360 are 0.62 of the
  height and 0.29 of the area. The paper's crops of 800 on 1024x2048 are 0.78 of the height and 0.31 of the area.
  Cityscapes has not been measured.
* **The minimum area matters less than the size of the crop**. The default (-1) and no minimum (0) differ by a few
  tenths of a point for rare classes. Tree falls and Road rises by 2 points. One large minimum for all classes raises
  the shares of rare classes further, because near and large things remain. But then things that are far away are
  never a centre: half of the components of Sky and Tree have 4 pixels or fewer, those of signs 84.

In short: use the sampler where crops are at most about half as high as the images, or where a class has less than half
a percent of the pixels. Elsewhere it changes little. These are shares of pixels, not scores: the study
`sampling_and_crops` ([studies](../studies.md)) trains at these sizes.
"""


def write(logs: pathlib.Path) -> pathlib.Path:
    """Writes sampling.md and sampling.svg beside the directory of the logs.

    Raises:
      CsstError: there is no log.
    """
    paths = sorted(logs.glob("sampling-*.json"))
    if not paths:
        raise CsstError(f"{logs} has no sampling-NAME.json; `python -m benchmarks.sampling run` writes them.")
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    found.sort(key=lambda log: log["masks"])
    charts = {_title(log): _chart(log) for log in found}
    whole_file.write(
        logs.parent / "sampling.svg", curves.drawn(charts, "crop's side / image's height", "times the uniform share")
    )
    path = logs.parent / "sampling.md"
    whole_file.write(path, _HEAD + "".join(_section(log) for log in found))
    return path


def factors(log: Mapping[str, Any]) -> dict[float, list[float]]:
    """Share under centroid sampling divided by that under uniform sampling, of each class, by the crop's size."""
    at: dict[float, dict[str, list[float]]] = {}
    for row in log["rows"]:
        if row["min_area_px"] == -1:
            at.setdefault(row["height_share"], {})[row["sampler"]] = row["pixels"]
    return {
        share: [c / u if u else 0.0 for c, u in zip(pair["centroid"], pair["uniform"], strict=True)]
        for share, pair in at.items()
    }


def _rare(log: Mapping[str, Any]) -> list[int]:
    return [k for k, share in enumerate(log["of_masks"]) if 0 < share < RARE]


def _title(log: Mapping[str, Any]) -> str:
    return f"{log['data_set']}, {log['masks']} masks"


def _chart(log: Mapping[str, Any]) -> dict[str, dict[str, list[float]]]:
    by_size = factors(log)
    return {
        log["classes"][k]: {f"{share:g}": [values[k]] for share, values in by_size.items() if share >= _DRAWN_FROM}
        for k in _rare(log)
    }


def _section(log: Mapping[str, Any]) -> str:
    classes = log["classes"]
    sizes = {row["height_share"]: row["crop_px"] for row in log["rows"]}
    times = [
        [f"{share:g}, {sizes[share]} px", *(f"{value:.1f}" for value in values)]
        for share, values in factors(log).items()
    ]
    half = [row for row in log["rows"] if row["height_share"] == 0.5]
    minimum = [
        [
            "uniform" if row["sampler"] == "uniform" else f"from {_area(row)}",
            *(f"{100 * p:.1f}" for p in row["pixels"]),
        ]
        for row in half
    ]
    of_masks = [f"{100 * share:.1f}" for share in log["of_masks"]]
    parts = [
        f"\n## {_title(log)}\n",
        f"{log['crops']:,} crops per row. Each number is a share of pixels under centroid sampling, divided by that "
        "under uniform sampling.\n",
        page.table_of(["crop's side", *classes], times),
        "\nShares of pixels in percent follow. Rows differ in the smallest component that may be a crop's centre. "
        "Crops have half the image's height.\n",
        page.table_of(["", *classes], [["the masks", *of_masks], *minimum]),
        "\nComponents of the masks, and the default minimum in pixels:\n",
        page.table_of(
            ["", *classes],
            [
                ["components", *(f"{n:,}" for n in log["components"])],
                ["median area", *(f"{a:,.0f}" for a in log["median_area_px"])],
                ["default minimum", *(f"{a:,}" for a in log["default_area_px"])],
            ],
        ),
    ]
    return "\n".join(parts) + "\n"


def _area(row: Mapping[str, Any]) -> str:
    return "the default" if row["min_area_px"] == -1 else f"{row['min_area_px']:,} px"
