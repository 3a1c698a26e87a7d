"""How good are pseudo labels under each rule that makes some of them void? On a pool whose masks are there, but unused.

python -m benchmarks.label_quality run --checkpoint=runs/mine --data_dir=data/mine --labelled_ids=ids.txt --name=mine
python -m benchmarks.label_quality page

`run` writes docs/results/logs/label_quality-NAME.json. With --views=3 it also predicts from one view, and from scales
and mirror images, and measures calibration. `page` writes docs/results/label_quality.md and its chart from these logs.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import calibration, label_quality_page, whole_file
from csst_jax import build
from csst_jax.data.chosen import Data
from csst_jax.data.statistics import class_statistics
from csst_jax.data.stored.encoded import decode_label
from csst_jax.evaluation.whole_image import Averaging
from csst_jax.settings.run import Mesh
from csst_jax.stages import model_file
from csst_jax.stages.thresholds import Thresholds, counted, doubted_from, kept_from
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from csst_jax.data.selection import Selection
    from csst_jax.evaluation.whole_image import Prediction

LOGS = pathlib.Path(__file__).resolve().parent.parent / "docs" / "results" / "logs"
THRESHOLDS = (0.0, 0.6, 0.8, 0.9, 0.95)
PORTIONS = (0.3, 0.5, 0.7)
VIEWS = {
    "flip": Averaging(flip=True, pad_px=32),
    "one view": Averaging(pad_px=32),
    "flip and scales 0.75, 1, 1.25": Averaging((0.75, 1.0, 1.25), flip=True, pad_px=32),
}
"""What probabilities are averaged over; the rules are those of the first."""
_NEVER = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 2 for what the user can fix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="predicts the pool and compares each rule with the masks")
    run.add_argument("--checkpoint", required=True, help="the teacher: a stage's directory, or its model.safetensors")
    run.add_argument("--data_dir", required=True, help="the prepared data set")
    run.add_argument(
        "--labelled_ids", required=True, help="the ids that the teacher was trained on; the rest is the pool"
    )
    run.add_argument("--views", type=int, default=1, choices=(1, 3), help=f"3 for all of: {'; '.join(VIEWS)}")
    run.add_argument("--every", type=int, default=1, help="take every Nth image of the pool (default 1: all)")
    run.add_argument("--name", required=True, help="name of the log")
    run.add_argument("--logs", type=pathlib.Path, default=LOGS)
    page = commands.add_parser("page", help="docs/results/label_quality.md")
    page.add_argument("--logs", type=pathlib.Path, default=LOGS)
    options = parser.parse_args(arguments)
    try:
        if options.command == "run":
            if options.every < 1:
                raise CsstError(f"--every={options.every} must be 1 or more.")
            given = (options.checkpoint, options.data_dir, options.labelled_ids)
            found = measured(*given, list(VIEWS)[: options.views], options.every)
            path = options.logs / f"label_quality-{options.name}.json"
            whole_file.write_json(path, {"name": options.name, **found})
        else:
            path = label_quality_page.write(options.logs)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {path}")
    return 0


def measured(
    checkpoint: str, data_dir: str, labelled_ids: str, views: Sequence[str] = ("flip",), every: int = 1
) -> dict[str, Any]:
    """Predicts the pool and counts what each rule keeps.

    Args:
      checkpoint: the teacher.
      data_dir: the prepared data set.
      labelled_ids: file with the ids that have a mask; the others are the pool.
      views: names of `VIEWS`.
      every: every so manieth image of the pool counts.

    Returns:
      `classes`, and how many `masks` and images of the `pool`. `rules`, of the first view: for each rule pixels [C,
      C + 1], rows the true classes, columns the labels, void last. `views`: for each view `calibration`, as
      `calibration.reliability` has it. By rule it also has `labels`, pixels of each label with void last, and `right`,
      those that are right.

    Raises:
      CsstError: there is no such network or data set, or an image of the pool has no mask.
    """
    data = Data(data_dir, "train", "val", labelled_ids, "", "")
    selection = data.training(data.open())
    teacher = model_file.load(checkpoint)
    mesh = Mesh(-1, 1, split_state=False)
    classes = selection.dataset.description.classes
    size, pool = len(classes), selection.unlabelled[::every]
    masks = {record: decode_label(selection.reader.label_bytes(record)) for record in pool}
    if any((mask >= size).all() for mask in masks.values()):
        raise CsstError(f"{data_dir}: an image of the pool has no mask; this command compares labels with masks.")
    counts: dict[str, Any] = {}
    seen: dict[str, Any] = {}
    for view in views:
        predictor = build.predictor(VIEWS[view], teacher.network, teacher.weights, teacher.expects, 4, mesh, ranks=2)
        predictions = list(predictor(selection.reader, pool))
        tables = {name: table(rule, predictions, masks, size) for name, rule in rules(predictions, selection)}
        counts = counts or {name: found.tolist() for name, found in tables.items()}
        reliability = calibration.reliability(predictions, masks, size)
        of_all = {name: found.sum(0).tolist() for name, found in tables.items()}
        right = {name: np.diag(found[:, :-1]).tolist() for name, found in tables.items()}
        seen[view] = {"calibration": reliability.round(3).tolist(), "labels": of_all, "right": right}
    return {
        "classes": list(classes),
        "masks": len(selection.labelled),
        "pool": len(pool),
        "rules": counts,
        "views": seen,
    }


def rules(predictions: Sequence[Prediction], selection: Selection) -> Iterable[tuple[str, Thresholds]]:
    """Each rule's name and thresholds."""
    size = len(selection.dataset.description.classes)
    never = np.full(size, _NEVER, np.float32)
    seen = counted(predictions, size)
    for threshold in THRESHOLDS:
        yield f"probability ≥ {threshold:g}" if threshold else "all pixels", Thresholds(never * (threshold / 2), never)
    for portion in PORTIONS:
        kept = kept_from(seen[0], 0.0, portion).astype(np.float32)
        yield f"surest {100 * portion:.0f} % of each class", Thresholds(kept, never)
        if portion == 0.5:
            shown = class_statistics(selection.dataset.centroids(selection.split), selection.labelled).pixels
            doubted = doubted_from(*seen, shown).astype(np.float32)
            yield "the same, and `void_missed`", Thresholds(kept, doubted)
            yield "the same, and `lower_of_two`", Thresholds(kept, never, lower_of_two=True)


def table(
    rule: Thresholds, predictions: Sequence[Prediction], masks: Mapping[int, np.ndarray], size: int
) -> np.ndarray:
    """int64 [C, C + 1]: pixels by true class and label, void last; pixels that are void in the mask are left out."""
    found = np.zeros(size * (size + 1), np.int64)
    for prediction in predictions:
        truth = masks[prediction.record]
        label = np.where(rule.void(prediction), size, prediction.classes)
        cells = truth.astype(np.int64) * (size + 1) + label
        found += np.bincount(cells[truth < size], minlength=found.size)
    return found.reshape(size, size + 1)


if __name__ == "__main__":
    sys.exit(main())
