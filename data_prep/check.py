"""Checks a prepared data set: what is in it, class by class, and what is wrong with it.

Decodes every image and label. Says what is damaged or does not fit together, which values are not classes, which images
are in two splits, which classes never occur. Counts pixels, images and components of each class, and suggests a minimum
component area. Draws a contact sheet for you to look at. With --config the labelled images are those of that run
(data.labelled_ids), and its crops and minimum areas are checked, too. Exits with status 1 if training would go wrong.
Raw files are checked while they are prepared (data_prep.folder and the other commands).

  python -m data_prep.check --data_dir=DIR
  python -m data_prep.check --config=FILE [--config.KEY=VALUE ...]
"""

from __future__ import annotations

import collections
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from csst_jax import command_line
from csst_jax.arguments import Parser
from csst_jax.data import image_sizes, readiness, selection
from csst_jax.data.readiness import Findings
from csst_jax.data.sampling import require_crop_fits
from csst_jax.data.statistics import SPECKS_SHARE, ClassStatistics
from csst_jax.data.store import DataSet
from csst_jax.runtime.patience import to_stderr, told
from csst_jax.types import CsstError
from data_prep import cli, examination, pictures, validation_size, workers

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from data_prep.examination import Examined


@dataclasses.dataclass(frozen=True)
class SplitReport:
    """What one split holds.

    Attributes:
      num_images: images with and without masks.
      labelled: records of the images whose masks count.
      sound: those of them that can be shown: nothing is wrong with image or label.
      sizes: number of images by (width, height) in pixels, the most frequent first.
      num_pixels: pixels of the labelled images, void included.
      classes: what their labels hold.
    """

    num_images: int
    labelled: tuple[int, ...]
    sound: tuple[int, ...]
    sizes: Mapping[tuple[int, int], int]
    num_pixels: int
    classes: ClassStatistics

    @property
    def pixel_share(self) -> np.ndarray:
        """float64[C], of all pixels, void included."""
        return self.classes.pixels / max(self.num_pixels, 1)


def split_report(data_set: DataSet, split: str, labelled: Sequence[int], examined: Sequence[Examined]) -> SplitReport:
    """Counts what `split` holds.

    Raises:
      CsstError: the centroid index is missing, stale or damaged.
    """
    sizes = collections.Counter((one.size[1], one.size[0]) for one in examined if one.size)
    counted = [examined[record].size or (0, 0) for record in labelled]
    return SplitReport(
        num_images=len(examined),
        labelled=tuple(labelled),
        sound=tuple(record for record in labelled if not examined[record].errors),
        sizes=dict(sizes.most_common()),
        num_pixels=sum(height * width for height, width in counted),
        classes=readiness.statistics(data_set, split, labelled),
    )


def diagnose(
    data_set: DataSet, config: ConfigDict | None, num_workers: int = 1
) -> tuple[dict[str, SplitReport], Findings]:
    """Examines a data set, for the run that `config` describes where there is one.

    Returns:
      A report on each split whose index is sound, and what is wrong.

    Raises:
      CsstError: the data set or its list of labelled ids cannot be read at all.
    """
    train, val, ids_file = "train", "val", ""
    if config is not None:
        train, val, ids_file = config.data.train_split, config.data.val_split, config.data.labelled_ids
    chosen = {
        split: selection.select(data_set, split, ids_file if split == train else "")
        for split in data_set.splits
        if split == train or data_set.labelled_ids(split)
    }
    found, examined, reports = Findings(), {}, {}
    for split in data_set.splits:
        try:
            with told(f"looking at the {len(data_set.ids(split))} images of split {split!r}", to_stderr):
                examined[split] = examination.examine_split(data_set, split, num_workers)
            labelled = chosen[split].labelled if split in chosen else ()
            reports[split] = split_report(data_set, split, labelled, examined[split])
        except CsstError as error:
            found.errors.append(str(error))
    found.extend(examination.findings(examined))
    if train in reports and val in reports and val in chosen:
        found.extend(readiness.findings(chosen[train], chosen[val]))
        few = validation_size.warning(len(chosen[val].labelled))
        found.warnings += [few] if few else []
    elif missing := [split for split in (train, val) if split not in chosen]:
        found.errors.append(
            f"{data_set.directory}: no labelled image in split {' and '.join(map(repr, missing))}; a run needs some to "
            "train on and some to judge by. There are: " + ", ".join(data_set.splits) + "."
        )
    for key, split in (("label", train), ("evaluate", val)):
        if split in reports:
            pad_px = 1 if config is None else config[key].pad_px
            advised = image_sizes.advice(key, split, reports[split].sizes, pad_px)
            found.warnings += [advised] if advised else []
    if config is not None and train in reports:
        _compare_settings(config, reports[train], data_set.description.classes, found)
    return reports, found


def _compare_settings(config: ConfigDict, train: SplitReport, classes: Sequence[str], found: Findings) -> None:
    """What crops and minimum areas of the teacher and the student mean for this data set."""
    for name in ("teacher", "student"):
        stage, holds = config[name], train.classes
        if stage.crop_px > 0:  # a size that is left open will fit
            _compare_crop(name, stage.crop_px, train, found)
        lost = holds.present & (holds.largest_area_px < stage.sampler.min_area_px)
        key = f"{name}.sampler.min_area_px={stage.sampler.min_area_px}"
        suggested = f"suggested: {holds.suggested_min_area_px}."
        if lost.any():
            told = found.errors if lost[holds.present].all() else found.warnings
            told.append(f"{key} leaves out every component of {readiness.names_of(classes, lost)}; {suggested}")
        elif stage.sampler.min_area_px > holds.suggested_min_area_px:
            found.warnings.append(f"{key} leaves out more than specks of some classes; {suggested}")


def _compare_crop(stage: str, crop_px: int, train: SplitReport, found: Findings) -> None:
    try:
        require_crop_fits(crop_px, list(train.sizes))
    except CsstError as error:
        found.errors.append(f"{stage}: {error}")
    smaller = sum(count for size, count in train.sizes.items() if min(size) < crop_px)
    if smaller:
        found.warnings.append(
            f"{stage}.crop_px={crop_px} is longer than a side of {smaller} of {train.num_images} images: their crops "
            "are padded. Smaller crops take less time."
        )


def table(split: str, report: SplitReport, classes: Sequence[str]) -> str:
    """A split's report for people."""
    sizes = [f"{width}x{height} ({count})" for (width, height), count in report.sizes.items()]
    more = f" and {len(sizes) - 5} other sizes" if len(sizes) > 5 else ""
    labelled = len(report.labelled)
    column = max(map(len, (*classes, "(void)")))
    lines = [
        f"{split}: {report.num_images} images, {labelled} labelled; sizes {', '.join(sizes[:5])}{more}",
        f"  {'class':{column}}  pixels %  images %  components  median area px  suggested minimum px",
    ]
    found = report.classes
    for k, name in enumerate(classes):
        lines.append(
            f"  {name:{column}}  {100 * report.pixel_share[k]:8.3f}  {100 * found.images[k] / max(labelled, 1):8.1f}"
            f"  {found.components[k]:10d}  {found.median_area_px[k]:14.0f}  {found.speck_area_px[k]:20d}"
        )
    lines.append(f"  {'(void)':{column}}  {100 * (1 - report.pixel_share.sum()):8.3f}")
    if found.present.any():
        lines.append(
            f"  suggested sampler.min_area_px: {found.suggested_min_area_px}, the smallest of the classes' own, each "
            f"of which leaves out components with {100 * SPECKS_SHARE:g} % of the class's pixels at most"
        )
    return "\n".join(lines)


def text(data_set: DataSet, reports: Mapping[str, SplitReport], found: Findings) -> list[str]:
    """Everything, for people, as paragraphs."""
    told = [f"error: {error}" for error in found.errors] + [f"warning: {warning}" for warning in found.warnings]
    if not found.errors:
        told.append("every image, every label and the centroid index was read; they fit together")
    tables = [table(split, report, data_set.description.classes) for split, report in reports.items()]
    return [f"{data_set.description.name} in {data_set.directory}", *tables, "\n".join(told)]


def as_json(data_set: DataSet, reports: Mapping[str, SplitReport], found: Findings) -> dict[str, Any]:
    """Everything, for programs."""
    names = data_set.description.classes
    splits = {
        split: {
            "images": report.num_images,
            "labelled": len(report.labelled),
            "sizes": {f"{width}x{height}": count for (width, height), count in report.sizes.items()},
            "void_share": float(1 - report.pixel_share.sum()),
            "suggested_min_area_px": report.classes.suggested_min_area_px,
            "classes": {
                name: {
                    "pixels": int(report.classes.pixels[k]),
                    "pixel_share": float(report.pixel_share[k]),
                    "images": int(report.classes.images[k]),
                    "components": int(report.classes.components[k]),
                    "median_area_px": float(report.classes.median_area_px[k]),
                    "suggested_min_area_px": int(report.classes.speck_area_px[k]),
                }
                for k, name in enumerate(names)
            },
        }
        for split, report in reports.items()
    }
    return {
        "name": data_set.description.name,
        "directory": str(data_set.directory),
        "splits": splits,
        "errors": found.errors,
        "warnings": found.warnings,
    }


def _arguments() -> Parser:
    arguments = cli.parser(__doc__)
    arguments.add_argument("--data_dir", type=cli.path, help="directory of the prepared data set")
    arguments.add_argument(
        "--config", help="configuration of a run, instead of --data_dir; --config.KEY=VALUE overrides a key"
    )
    arguments.add_argument(
        "--contact_sheet", type=cli.path, help="PNG to write (default: contact_sheet.png in the data set)"
    )
    arguments.add_argument("--json", action="store_true", help="print JSON instead of tables")
    workers.add_argument(arguments)
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; see the module's docstring.

    Returns:
      1 where training would go wrong, else 0.
    """
    flags, config = command_line.parse_with_config(_arguments(), argv)
    if (flags.data_dir is None) == (config is None):
        raise CsstError("give either --data_dir=DIR or --config=FILE.")
    if config is not None and not config.data.dir:
        raise CsstError("data.dir is empty; set --config.data.dir=DIR to a prepared data set.")
    data_set = DataSet.open(flags.data_dir if config is None else config.data.dir)
    reports, found = diagnose(data_set, config, flags.num_workers)
    if flags.json:
        print(json.dumps(as_json(data_set, reports, found)))
    else:
        print("\n\n".join(text(data_set, reports, found)))
    shown = {split: report.sound for split, report in reports.items()}
    if any(shown.values()):
        sheet = flags.contact_sheet or data_set.directory / "contact_sheet.png"
        try:
            pictures.draw_sheet(sheet, data_set, shown)
            print(f"contact sheet: {sheet}", file=sys.stderr)
        except CsstError as error:
            if flags.contact_sheet:
                raise
            print(f"warning: {error}", file=sys.stderr)  # nobody asked for it, and the data can be read-only
    return int(bool(found.errors))


if __name__ == "__main__":
    cli.run(main)
