"""When does centroid sampling change what crops show? Class shares by sampler, size of crops and minimum area.

python -m benchmarks.sampling run --data_dir=data/camvid --labelled_ids=data_prep/splits/camvid/1_8.txt --name=camvid-46
python -m benchmarks.sampling page

`run` counts in masks, without training, and writes docs/results/logs/sampling-NAME.json in seconds. `page` writes
docs/results/sampling.md and its chart from these logs.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import sampling_page, whole_file
from csst_jax.data.chosen import Data
from csst_jax.data.shares import shares
from csst_jax.data.statistics import class_statistics
from csst_jax.data.stored.encoded import decode_label
from csst_jax.samplers.centroid import CentroidSampler
from csst_jax.samplers.plan import pool_from_index
from csst_jax.samplers.uniform import UniformImageSampler
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.data.crop_plan import Sampler
    from csst_jax.data.selection import Selection

LOGS = pathlib.Path(__file__).resolve().parent.parent / "docs" / "results" / "logs"
HEIGHTS = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 1.0)
"""Sides of the crops, as shares of the image's height."""
AREAS_PX = (0, 16, 64, 256, 1024)
SCALES = (0.5, 2.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 2 for what the user can fix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="counts in the masks of a prepared data set")
    run.add_argument("--data_dir", required=True, help="the prepared data set")
    run.add_argument("--labelled_ids", default="", help="the ids of its masks, one per line; all by default")
    run.add_argument("--crops", type=int, default=2000, help="crops to count in for every row")
    run.add_argument("--name", required=True, help="name of the log")
    run.add_argument("--logs", type=pathlib.Path, default=LOGS)
    page = commands.add_parser("page", help="docs/results/sampling.md")
    page.add_argument("--logs", type=pathlib.Path, default=LOGS)
    options = parser.parse_args(arguments)
    try:
        if options.command == "run":
            if options.crops < 1:
                raise CsstError(f"--crops={options.crops} must be 1 or more.")
            selection = _selection(options.data_dir, options.labelled_ids)
            path = options.logs / f"sampling-{options.name}.json"
            whole_file.write_json(path, {"name": options.name, **measured(selection, options.crops)})
        else:
            path = sampling_page.write(options.logs)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {path}")
    return 0


def measured(selection: Selection, num_crops: int) -> dict[str, Any]:
    """Counts under every setting.

    Args:
      selection: whose labelled images count.
      num_crops: crops to count in, for each setting.

    Returns:
      `data_set`, its name; `classes`; `of_masks`, their shares of the masks; `components` of each class, with their
      median area and the default minimum; and `rows`: sampler, side, minimum area (-1 for the default), shares of
      pixels and of crops.
    """
    index, records = selection.dataset.centroids(selection.split), selection.labelled
    statistics = class_statistics(index, records)
    classes = selection.dataset.description.classes
    masks = {(0, record): decode_label(selection.reader.label_bytes(record)) for record in records}
    sizes = [(*key, *mask.shape) for key, mask in masks.items()]
    height = min(mask.shape[0] for mask in masks.values())
    uniform = UniformImageSampler(sizes)

    def centroid(area_px: int) -> Sampler:
        smallest = statistics.speck_area_px if area_px < 0 else area_px
        return CentroidSampler(pool_from_index(index, 0, records, smallest), classes)

    settings: list[tuple[str, Sampler, float, int]] = []
    for share in HEIGHTS:
        settings += [("uniform", uniform, share, -1), ("centroid", centroid(-1), share, -1)]
    settings += [("centroid", centroid(area), 0.5, area) for area in AREAS_PX]
    rows = []
    for name, sampler, share, area in settings:
        crop_px = round(share * height)
        found = shares(sampler, masks, len(classes), crop_px=crop_px, scale_range=SCALES, num_crops=num_crops)
        row = {"sampler": name, "height_share": share, "crop_px": crop_px, "min_area_px": area}
        rows.append(row | {"pixels": _rounded(found.pixels), "crops": _rounded(found.crops)})
    return {
        "data_set": selection.dataset.description.name,
        "classes": list(classes),
        "masks": len(records),
        "crops": num_crops,
        "scales": list(SCALES),
        "of_masks": _rounded(statistics.pixels / statistics.pixels.sum()),
        "components": statistics.components.tolist(),
        "median_area_px": statistics.median_area_px.tolist(),
        "default_area_px": statistics.speck_area_px.tolist(),
        "rows": rows,
    }


def _selection(data_dir: str, labelled_ids: str) -> Selection:
    """The training split.

    Raises:
      CsstError: there is no such data set, or the list is wrong.
    """
    data = Data(data_dir, "train", "val", labelled_ids, "", "")
    return data.training(data.open())


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 6) for value in values]


if __name__ == "__main__":
    sys.exit(main())
