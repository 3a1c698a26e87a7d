"""How good are pseudo labels under each rule that makes some of them void? On a pool whose masks are there, but unused.

python -m benchmarks.label_quality run --checkpoint=runs/mine --data_dir=data/mine --labelled_ids=ids.txt --name=mine
python -m benchmarks.label_quality page

`run` writes docs/results/logs/label_quality-NAME.json. `page` writes docs/results/label_quality.md from these logs.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import whole_file
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
    run.add_argument("--name", required=True, help="of the log")
    run.add_argument("--logs", type=pathlib.Path, default=LOGS)
    page = commands.add_parser("page", help="docs/results/label_quality.md")
    page.add_argument("--logs", type=pathlib.Path, default=LOGS)
    options = parser.parse_args(arguments)
    try:
        if options.command == "run":
            found = measured(options.checkpoint, options.data_dir, options.labelled_ids)
            path = options.logs / f"label_quality-{options.name}.json"
            whole_file.write_json(path, {"name": options.name, **found})
        else:
            path = options.logs.parent / "label_quality.md"
            whole_file.write(path, page_of(options.logs))
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {path}")
    return 0


def measured(checkpoint: str, data_dir: str, labelled_ids: str) -> dict[str, Any]:
    """Predicts the pool, flip-averaged, and counts what each rule keeps.

    Returns:
      `classes`; and by rule the table of pixels [C, C + 1], rows the true classes, columns the labels, void last.

    Raises:
      CsstError: there is no such network or data set, or an image of the pool has no mask.
    """
    data = Data(data_dir, "train", "val", labelled_ids, "", "")
    selection = data.training(data.open())
    teacher = model_file.load(checkpoint)
    averaging = Averaging(flip=True, pad_px=32)
    mesh = Mesh(-1, 1, split_state=False)
    predictor = build.predictor(averaging, teacher.network, teacher.weights, teacher.expects, 4, mesh, ranks=2)
    predictions = list(predictor(selection.reader, selection.unlabelled))
    masks = {p.record: decode_label(selection.reader.label_bytes(p.record)) for p in predictions}
    classes = selection.dataset.description.classes
    if any((mask >= len(classes)).all() for mask in masks.values()):
        raise CsstError(f"{data_dir}: an image of the pool has no mask; this command compares labels with masks.")
    counts = {name: table(rule, predictions, masks, len(classes)) for name, rule in rules(predictions, selection)}
    return {
        "classes": list(classes),
        "masks": len(selection.labelled),
        "pool": len(predictions),
        "rules": {name: found.tolist() for name, found in counts.items()},
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


def page_of(logs: pathlib.Path) -> str:
    """The page's Markdown.

    Raises:
      CsstError: there is no log.
    """
    paths = sorted(logs.glob("label_quality-*.json"))
    if not paths:
        raise CsstError(f"{logs} has no label_quality-NAME.json; `python -m benchmarks.label_quality run` writes them.")
    lines = [
        "# Which pseudo labels are right?",
        "",
        "Written by `python -m benchmarks.label_quality page` from `logs/label_quality-NAME.json`; do not edit.",
        "",
        "A teacher's predictions for a pool, compared with the pool's masks, which no network has seen. Each rule "
        "makes some pixels void. *Kept* is the share of pixels that keep a label, *right* the share of these that is "
        "right. For each class the table shows how many of its pixels in the masks keep a right label, and how many a "
        "wrong one, in percent. A student forgets a class whose pixels have more wrong labels than right ones.",
    ]
    for path in paths:
        log = json.loads(path.read_text(encoding="utf-8"))
        header = ["rule", "kept", "right", *log["classes"]]
        rows = [[name, *_cells(np.array(found))] for name, found in log["rules"].items()]
        lines += ["", f"## {log['name']}", "", f"{log['masks']} masks, {log['pool']} images in the pool.", ""]
        lines += ["| " + " | ".join(row) + " |" for row in (header, ["---", *["--:"] * (len(header) - 1)], *rows)]
    return "\n".join(lines) + "\n"


def _cells(found: np.ndarray) -> list[str]:
    labels, total = found[:, :-1], np.maximum(found.sum(1), 1)
    right = np.diag(labels)
    shares = [
        f"{100 * r / t:.0f} / {100 * w / t:.0f}" for r, w, t in zip(right, labels.sum(1) - right, total, strict=True)
    ]
    return [f"{100 * labels.sum() / found.sum():.0f}", f"{100 * right.sum() / max(labels.sum(), 1):.1f}", *shares]


if __name__ == "__main__":
    sys.exit(main())
