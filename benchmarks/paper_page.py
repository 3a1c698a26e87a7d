"""Writes docs/paper.md: every row of the paper's tables, its configuration, its figure, and ours or what it would take.

python -m benchmarks.paper_page

A finished run's `results.json`, copied to docs/results/logs/paper-TABLE-ROW.json, gives our figure.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from benchmarks import whole_file
from csst_jax import own_packages
from csst_jax.models.counting import counted
from csst_jax.planning.topology import CHIPS
from csst_jax.schedules import crops

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ml_collections import ConfigDict

    from csst_jax.types import Phase

own_packages.make_importable()

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "paper.md"
LOGS = DOCS / "results" / "logs"
TABLES = (*(f"table{number}" for number in range(1, 10)), "figure8")
COMMAND = "python -m benchmarks.paper_page"

CHIP = "v5e"
UTILISATION = 0.3
"""Assumed share of the chip's peak."""
BACKWARD = 2
"""Operations of a backward pass, in forward passes: a product for the inputs' gradient and one for the weights'."""
_OF_ONE_STAGE = {"consistency": 0.5, "cct": 0.0, "dst_cbc": 0.875, "pseudoseg": 0.5, "hlcon": 0.5}
"""Methods whose one stage takes unlabelled images, and their further forward passes a crop, two for a backward pass."""
_COUNTED_PX = 1024 * 2048  # the image that counted.jsonl is about

# Images and their pixels (docs/datasets.md). Mapillary's vary; 8 megapixels are assumed.
_SIZES = {
    "cityscapes": 1024 * 2048,
    "camvid_full": 720 * 960,
    "voc2012": 375 * 500,
    "voc2012_aug_masks": 375 * 500,
    "bdd100k": 720 * 1280,
    "mapillary_v1_2": 8_000_000,
}
_IMAGES = {  # masks where a split has any, else images
    "cityscapes:train": 2975,
    "cityscapes:val": 500,
    "cityscapes:train_extra": 19_997,
    "camvid_full:train": 367,
    "camvid_full:test": 233,
    "voc2012:train": 1464,
    "voc2012:val": 1449,
    "voc2012_aug_masks:train": 1464 + 9118,
    "voc2012_aug_masks:val": 1449,
    "bdd100k:train": 7000,
    "bdd100k:val": 1000,
    "mapillary_v1_2:train": 18_000,
    "mapillary_v1_2:val": 2000,
}
_WITHOUT_MASK = {"voc2012": 9118}  # images of train that the masks leave over
_DOWNLOADS = {
    "cityscapes": "[Cityscapes](datasets.md#cityscapes)",
    "camvid_full": "[CamVid](datasets.md#camvid)",
    "voc2012": "[VOC 2012, SBD's list](datasets.md#pascal-voc-2012)",
    "voc2012_aug_masks": "[VOC 2012, SBD's masks](datasets.md#pascal-voc-2012)",
    "bdd100k": "[BDD100K](datasets.md#bdd100k)",
    "mapillary_v1_2": "[Mapillary](datasets.md#mapillary-vistas)",
}


def module(table: str) -> Any:
    """The table's configuration: `ROWS` and `get_config`."""
    return importlib.import_module(f"configs.paper.{table}")


def options(table: str, name: str) -> str:
    """What stands after the colon: the row, and what the row cannot do without."""
    row = module(table).ROWS[name]
    chosen = f"row={name}"
    if row.finetunes:
        chosen += f",trained=runs/{row.starts}"
    if row.shots:
        own = pathlib.Path(row.make().data.dir).name
        chosen += f",ids=shots/{own}/0/{row.shots}.txt"
    return chosen


@functools.cache
def config(table: str, name: str) -> ConfigDict | None:
    """A row's configuration; None for a row that has none."""
    found = module(table)
    return found.get_config(options(table, name)) if found.ROWS[name].make else None


def pool(c: ConfigDict) -> list[tuple[str, int]]:
    """Unlabelled images: data set and number."""
    own = pathlib.Path(c.data.dir).name
    parts = [(own, _WITHOUT_MASK[own])] if own in _WITHOUT_MASK else []
    for entry in filter(None, c.data.more_unlabelled.split(",")):
        directory, split, *count = entry.split(":")
        name = pathlib.Path(directory).name
        parts.append((name, int(count[0]) if count else _IMAGES[f"{name}:{split}"]))
    return parts


def phases(stage: ConfigDict, images: int) -> list[Phase]:
    """The stage's epochs."""
    return crops.phases(
        stage.schedule.kind,
        stage.crop_px,
        stage.batch_size,
        stage.epochs,
        stage.samples_per_epoch or images,
        num_sizes=stage.schedule.num_sizes,
        smallest_share=stage.schedule.smallest_share,
        stride=stage.schedule.stride,
        max_batch_factor=stage.schedule.max_batch_factor,
        batch_unit=1,
    )


def operations(c: ConfigDict, shots: int = 0) -> float:
    """Floating-point operations of a run: its crops, the pool's labels, and the evaluation of its networks."""
    own = pathlib.Path(c.data.dir).name
    real, unlabelled = shots or _IMAGES[f"{own}:train"], pool(c)
    total, stages = 0.0, c.stages.split(",")
    for name in {"teacher", "student"} & set(stages):
        stage, times = c[name], c.rounds if name == "student" else 1
        takes_pool = name == "student" or stage.method.name in _OF_ONE_STAGE
        images = real + (sum(count for _, count in unlabelled) if takes_pool else 0)
        if stage.epochs:
            passes = 1 + BACKWARD + _OF_ONE_STAGE.get(stage.method.name, 0.0)
            total += times * passes * _per_px(stage.network) * crops.pixels(phases(stage, images))
        judged = _IMAGES[f"{own}:{c.data.val_split}"] * _SIZES[own]
        total += times * judged * _views(c.evaluate) * _per_px(stage.network)
    if "label" in stages:
        labelled_px = sum(_SIZES[name] * count for name, count in unlabelled)
        total += c.rounds * labelled_px * _views(c.label) * _per_px(c.teacher.network)
    return total


@functools.cache
def _per_px(network: str) -> float:
    """Operations of a forward pass, a pixel of the input."""
    return counted()[network]["gflop"] * 1e9 / _COUNTED_PX


def _views(prediction: ConfigDict) -> float:
    """How often an image's pixels pass the network: scales, mirror images, and what windows share."""
    overlap = (1 - prediction.window_overlap) ** -2 if prediction.window_px else 1.0
    return sum(scale**2 for scale in prediction.scales) * (2 if prediction.flip else 1) * overlap


def chip_hours(total: float) -> float:
    """Hours that one chip takes for so many operations."""
    return total / (CHIPS[CHIP].flops_per_s * UTILISATION) / 3600


def ours(table: str, name: str) -> str:
    """Our figure, from the kept results; else what the run needs, or why there is none."""
    row, c = module(table).ROWS[name], config(table, name)
    if c is None:
        return row.note
    log = LOGS / f"paper-{table}-{name}.json"
    if log.exists():
        result: Mapping[str, Any] = json.loads(log.read_text(encoding="utf-8"))
        return f"{100 * (result.get('student') or result['teacher'])['miou']:.1f}"
    hours = chip_hours(operations(c, row.shots))
    needs = f"not run: needs {_rounded(hours)} chip-hours"
    if table != "table5":
        return needs
    faster = crops.speedup(phases(c.student, _IMAGES["cityscapes:train"] + sum(count for _, count in pool(c))))
    return f"{faster:.2f} times fewer pixels; {needs}"


def _rounded(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours >= 0.1 else "under 0.1"


def lines_of(table: str) -> Iterator[str]:
    """A table's section."""
    title, _, text = module(table).__doc__.partition("\n\n")
    yield f"## {title.partition(': `')[0]}"
    yield ""
    yield from text.strip().splitlines()
    yield ""
    yield "| row of the paper | `--config=` | data | the paper | ours |"
    yield "| --- | --- | --- | --- | --- |"
    for name, row in module(table).ROWS.items():
        c = config(table, name)
        names = [] if c is None else dict.fromkeys((pathlib.Path(c.data.dir).name, *(part for part, _ in pool(c))))
        cells = [
            row.what if c is None or not row.note else f"{row.what}. {row.note}",
            "–" if c is None else f"`paper/{table}:{options(table, name)}`",
            ", ".join(_DOWNLOADS[own] for own in names) or "–",
            row.paper,
            ours(table, name),
        ]
        yield f"| {' | '.join(cells)} |"


def page() -> str:
    """The page's Markdown."""
    rows = [row for table in TABLES for row in module(table).ROWS.values()]
    made, listed = sum(row.make is not None for row in rows), len(rows)
    constant = config("table4", "constant")
    assert constant is not None
    student = constant.student
    images = _IMAGES["cityscapes:train"] + sum(count for _, count in pool(constant))
    taken = (1 + BACKWARD) * _per_px(student.network) * crops.pixels(phases(student, images))
    peak, used = f"{CHIPS[CHIP].flops_per_s / 1e12:.0f}", f"{UTILISATION:.0%}"
    rate = taken / (9 * 24 * 3600 * 8) / 1e12
    fewer = crops.speedup(phases(module("table4").get_config("row=coarse2fine_plus").student, images))
    ran = len(list(LOGS.glob("paper-*.json")))
    which = f"{ran} of these rows have been run." if ran else "None of these rows has been run."
    head = f"""# The paper's tables

`{COMMAND}` writes this page from `configs/paper`. Do not edit it.

**{which}** Every row of Tables 1 to 9 and of Fig. 8 is here. {made} of {listed} have a configuration. The
others are figures that the paper quotes, or methods that are not implemented. The column `--config=` has what to give:

```sh
python -m csst_jax.main --config=paper/table1:row=teacher_cs --workdir=runs/table1/teacher_cs
python -m csst_jax.main --config=paper/table3:row=bisenet_csst,trained=runs/table1/teacher_cs/teacher \\
    --workdir=runs/table3/bisenet_csst
```

* `row` names the row.
* `pretrained` gives weights to start from. The paper starts from ImageNet's ([Networks and weights](networks.md)).
  Without it a run starts from random weights.
* `trained` gives a network that another row trained. It makes the pseudo labels, and the row trains no teacher. A row
  of fine-tuning starts from it.
* `ids` gives a file with the ids of the few masks that a row of Fig. 8 learns, one per line.
* `--config.KEY=VALUE` changes a setting, as in every configuration.

Settings are those of §4.2, and of Table 6 for its networks. Components of all sizes are crop centres, as in the paper.
The schedule is coarse2fine+ where a row does not say another. The paper's ablations are means of five runs: change
`--config.seed`. Figures are mIoU in percent.

## What a run needs

The last column has our figure, or the chip-hours of a row that has not been run. They are an estimate by operations,
for one chip or as many as share the work without loss:

* A network's forward pass takes the operations of [the zoo's table](zoo.md), in proportion to its input's pixels.
* A training step takes {1 + BACKWARD} forward passes. Methods of one stage take up to {max(_OF_ONE_STAGE.values())}
  more for further views and for labels. Modules of their own are left out. Steps and crops are those of the row's
  schedule.
* Labels for the pool and the evaluation take a forward pass for every scale, mirror image and window. Mapillary's
  images are taken as 8 megapixels, VOC's as 375 x 500.
* The chip is a TPU {CHIP}. Its peak is {peak} TFLOP/s, and a use of {used} is assumed. It was not measured.
* Small networks (FastSCNN, ICNet, BiSeNet) are limited by memory traffic. They may need ten times as much,
  or more ([FastSCNN, compiled](performance.md)).
* Hours hold for the row alone, with its own teacher if it has one. `trained` saves the teacher's.

The same count can be held against the paper. Its student with constant crops took 9 days (§4.3.5) on a machine of 8
GPUs (§3.3). That would be {rate:.1f} TFLOP/s for each GPU. coarse2fine+ takes {fewer:.2f} times fewer pixels, and the
paper measured 1.7 times less time.

[What a run will cost](cost.md) compiles a row for a slice and says whether it fits.
"""
    return head + "".join("\n" + "\n".join(lines_of(table)) + "\n" for table in TABLES)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)
    whole_file.write(PAGE, page())
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
