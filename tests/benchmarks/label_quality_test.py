"""The comparison of pseudo labels with masks: counts, rules and the page."""

import json
import types

import numpy as np
import pytest

from benchmarks import label_quality
from csst_jax.evaluation.whole_image import Prediction
from csst_jax.stages.thresholds import Thresholds
from csst_jax.types import CsstError

NEVER = np.full(2, 2.0, np.float32)


def prediction(record, classes, confidence):
    shape = classes.shape
    second = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    return Prediction(record, np.zeros((*shape, 3), np.uint8), classes, confidence.astype(np.float32), *second)


def test_pixels_are_counted_by_mask_and_label_with_void_last():
    classes = np.array([[0, 0, 1, 1]], np.uint8)
    seen = prediction(7, classes, np.array([[0.9, 0.4, 0.9, 0.9]]))
    masks = {7: np.array([[0, 0, 0, 255]], np.uint8)}
    found = label_quality.table(Thresholds(np.full(2, 0.5, np.float32), NEVER), [seen], masks, 2)
    assert found.tolist() == [[1, 1, 1], [0, 0, 0]], "right, wrong, void; the mask's void pixel is left out"


def test_each_rule_keeps_what_its_name_says():
    rng = np.random.default_rng(0)
    classes = (rng.random((50, 60)) < 0.3).astype(np.uint8)
    seen = prediction(0, classes, np.where(classes == 0, rng.uniform(0.9, 1, classes.shape), rng.uniform(0.3, 0.7)))
    index = types.SimpleNamespace()
    dataset = types.SimpleNamespace(
        description=types.SimpleNamespace(classes=("road", "pole")), centroids=lambda split: index
    )
    selection = types.SimpleNamespace(dataset=dataset, split="train", labelled=(0,))
    statistics = types.SimpleNamespace(pixels=np.array([70, 30]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_quality, "class_statistics", lambda *_: statistics)
        found = dict(label_quality.rules([seen], selection))
    kept = {name: 1 - rule.void(seen).mean() for name, rule in found.items()}
    assert kept["all pixels"] == 1
    assert kept["probability ≥ 0.8"] == pytest.approx((classes == 0).mean())
    assert kept["surest 70 % of each class"] > kept["surest 30 % of each class"]
    assert len(found) == len(label_quality.THRESHOLDS) + len(label_quality.PORTIONS) + 1


def test_page_shows_right_and_wrong_labels_of_each_class(tmp_path):
    with pytest.raises(CsstError, match="benchmarks.label_quality run"):
        label_quality.page_of(tmp_path)
    log = {
        "name": "mine",
        "classes": ["road", "pole"],
        "masks": 3,
        "pool": 9,
        "rules": {"all": [[90, 10, 0], [30, 20, 50]]},
    }
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "label_quality-mine.json").write_text(json.dumps(log))
    assert label_quality.main(["page", f"--logs={tmp_path / 'logs'}"]) == 0
    text = (tmp_path / "label_quality.md").read_text(encoding="utf-8")
    assert "| all | 75 | 73.3 | 90 / 10 | 20 / 30 |" in text and "3 masks, 9 images in the pool." in text


def test_what_is_not_there_is_one_line(tmp_path, capsys):
    assert label_quality.main(["page", f"--logs={tmp_path}"]) == 2
    assert "error: " in capsys.readouterr().err
