"""torchmetrics' and mmsegmentation's scores of the same images (record_scores.py), and where their definitions differ.

docs/scores.md tells the differences that this shows.
"""

import json
import pathlib

import numpy as np
import pytest

from csst_jax.evaluation.confusion import ConfusionMatrix
from tests.evaluation.score_cases import CASES, NUM_CLASSES, make_case

RECORDED = json.loads(pathlib.Path(__file__).with_name("recorded_scores.json").read_text())["cases"]
FLOAT32 = {"rel": 2e-6}  # both divide in float32


def ours(name):
    matrix = ConfusionMatrix([f"class{i}" for i in range(NUM_CLASSES)])
    matrix.update(*make_case(name))
    return matrix.result()


def values(found):
    return list(found["iou"].values())


@pytest.mark.parametrize("name", CASES)
def test_mmsegmentation_agrees_in_all_cases(name):
    found, theirs = ours(name), RECORDED[name]["mmsegmentation"]
    assert [v is None for v in values(found)] == [v is None for v in theirs["iou"]]
    assert [v for v in values(found) if v is not None] == pytest.approx(
        [v for v in theirs["iou"] if v is not None], **FLOAT32
    )
    assert found["miou"] == pytest.approx(theirs["miou"], **FLOAT32)
    assert found["pixel_accuracy"] == pytest.approx(theirs["accuracy"], **FLOAT32)


@pytest.mark.parametrize("name", CASES)
def test_torchmetrics_agrees_in_all_means(name):
    found, theirs = ours(name), RECORDED[name]["torchmetrics"]
    assert found["miou"] == pytest.approx(theirs["macro"], **FLOAT32)
    assert found["frequency_weighted_iou"] == pytest.approx(theirs["weighted"], **FLOAT32)
    assert [v or 0 for v in values(found)] == pytest.approx(theirs["none"], **FLOAT32)


def test_the_cases_show_what_they_are_for():
    assert values(ours("absent"))[4] is None and RECORDED["absent"]["torchmetrics"]["none"][4] == 0
    assert values(ours("predicted_alone"))[4] == 0
    labels, predictions = make_case("void")
    assert (labels == 255).mean() > 0.2
    matrix = ConfusionMatrix([f"class{i}" for i in range(NUM_CLASSES + 1)])
    matrix.update(np.where(labels == 255, NUM_CLASSES, labels), predictions)
    counted = matrix.result()
    assert values(counted)[0] != values(ours("void"))[0], "void pixels make no difference: this test sees nothing"
