"""The comparison of pseudo labels with masks: counts, rules and the page."""

import dataclasses
import json
import shutil
import types

import numpy as np
import pytest

from benchmarks import calibration, label_quality, label_quality_page
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
    lower = dataclasses.replace(seen, runner_up=1 - classes, runner_up_confidence=1 - seen.confidence)
    assert (
        found["the same, and `lower_of_two`"].void(lower).mean() < found["surest 50 % of each class"].void(lower).mean()
    )
    assert len(found) == len(label_quality.THRESHOLDS) + len(label_quality.PORTIONS) + 2


def test_reliability_counts_by_label_and_probability():
    classes = np.array([[0, 0, 1, 1, 1]], np.uint8)
    seen = prediction(7, classes, np.array([[0.95, 1.0, 0.55, 0.5, 0.9]]))
    masks = {7: np.array([[0, 1, 1, 0, 255]], np.uint8)}
    found = calibration.reliability([seen], masks, 2)
    assert found[0].sum() == 4, "the mask's void pixel is left out"
    assert found[:, 0, 9].tolist() == [2, pytest.approx(1.95), 1] and found[:, 1, 5].tolist() == [
        2, pytest.approx(1.05), 1
    ]  # fmt: skip
    assert calibration.expected_error(found[:, 0]) == pytest.approx(0.475), "half are right, and 0.975 sure"
    assert calibration.expected_error(found.sum(1)) == pytest.approx((0.95 + 0.05) / 4)
    assert calibration.overconfidence(found[:, 0]) == pytest.approx(0.475)
    assert calibration.expected_error(np.zeros((3, 10))) is None


def log_of(**more):
    return {
        "name": "mine",
        "classes": ["road", "pole"],
        "masks": 3,
        "pool": 9,
        "rules": {"all": [[90, 10, 0], [30, 20, 50]]},
        **more,
    }


def written(tmp_path, log):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "label_quality-mine.json").write_text(json.dumps(log))
    assert label_quality.main(["page", f"--logs={tmp_path / 'logs'}"]) == 0
    return (tmp_path / "label_quality.md").read_text(encoding="utf-8")


def test_page_shows_right_and_wrong_labels_of_each_class(tmp_path):
    text = written(tmp_path, log_of())
    assert "| all | 75 | 73.3 | 90 / 10 | 20 / 30 |" in text and "3 masks, 9 images in the pool." in text
    assert not (tmp_path / "label_quality.svg").exists() and "Calibration" not in text


def test_page_shows_calibration_and_precision_of_each_view(tmp_path):
    found = np.zeros((3, 2, calibration.BINS))
    found[:, 0, 9], found[:, 1, 5] = (80, 76, 72), (20, 11, 15)
    labels = {rule: [80, 20, 0] for rule in label_quality_page._SHOWN}
    right = {rule: [72, 15] for rule in label_quality_page._SHOWN}
    view = {"calibration": found.tolist(), "labels": labels, "right": right}
    text = written(tmp_path, log_of(views={"one view": view}))
    assert "| one view | 8.0 | 0.0 | 5.0 | 20.0 |" in text, "errors of 4 and 4 pixels in 100"
    assert "| one view: probability ≥ 0.9 | 90 | 75 |" in text
    svg = (tmp_path / "label_quality.svg").read_text(encoding="utf-8")
    assert "one view, 95: 90.00" in svg and "accuracy equals confidence, 55: 55.00" in svg


def test_what_is_not_there_is_one_line(tmp_path, capsys):
    assert label_quality.main(["page", f"--logs={tmp_path}"]) == 2
    words = ["run", "--checkpoint=c", "--data_dir=d", "--labelled_ids=i", "--name=n", "--every=0"]
    assert label_quality.main(words) == 2
    assert capsys.readouterr().err.count("error: ") == 2
    with pytest.raises(CsstError, match="benchmarks.label_quality run"):
        label_quality_page.write(tmp_path)


def test_the_page_is_what_its_logs_give(tmp_path):
    ours = label_quality.LOGS
    shutil.copytree(ours, tmp_path / "logs", ignore=lambda _, names: [n for n in names if "label_quality-" not in n])
    label_quality_page.write(tmp_path / "logs")
    for name in ("label_quality.md", "label_quality.svg"):
        assert (tmp_path / name).read_text(encoding="utf-8") == (ours.parent / name).read_text(encoding="utf-8")
