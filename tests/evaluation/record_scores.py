"""Records what torchmetrics and mmsegmentation score: `python tests/evaluation/record_scores.py`, by hand.

In an environment of its own, which the tests do not need:

    pip install torch torchmetrics==1.9.0 mmsegmentation==1.2.2 mmcv-lite==2.1.0 regex ftfy
"""

import json
import pathlib
import sys

import numpy as np
import torch
import torchmetrics
from mmseg.evaluation.metrics import IoUMetric
from torchmetrics.classification import MulticlassJaccardIndex

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.evaluation.score_cases import CASES, NUM_CLASSES, make_case  # noqa: E402

FIXTURE = pathlib.Path(__file__).with_name("recorded_scores.json")


def of_torchmetrics(labels, predictions):
    target, guess = torch.from_numpy(labels.astype(np.int64)), torch.from_numpy(predictions.astype(np.int64))
    found = {}
    for average in ("macro", "none", "weighted"):
        metric = MulticlassJaccardIndex(NUM_CLASSES, average=average, ignore_index=255)
        metric.update(guess, target)
        found[average] = metric.compute().tolist()
    return found


def of_mmsegmentation(labels, predictions):
    areas = [
        IoUMetric.intersect_and_union(
            torch.from_numpy(p.astype(np.int64)), torch.from_numpy(t.astype(np.int64)), NUM_CLASSES, 255
        )
        for t, p in zip(labels, predictions, strict=True)
    ]
    totals = [sum(x) for x in zip(*areas, strict=True)]
    found = IoUMetric.total_area_to_metrics(*totals, ["mIoU"])
    scores = found["IoU"].astype(float)
    return {
        "iou": [None if np.isnan(s) else s for s in scores.tolist()],
        "miou": float(np.nanmean(scores)),
        "accuracy": float(found["aAcc"]),
    }


recorded = {"torchmetrics": torchmetrics.__version__, "mmsegmentation": "1.2.2", "cases": {}}
for name in CASES:
    labels, predictions = make_case(name)
    recorded["cases"][name] = {
        "torchmetrics": of_torchmetrics(labels, predictions),
        "mmsegmentation": of_mmsegmentation(labels, predictions),
    }
FIXTURE.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
