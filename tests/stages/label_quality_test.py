"""The warning before a student trains."""

import json
import logging
import types

import numpy as np

from csst_jax.data.stored.encoded import encode_label
from csst_jax.stages import label_quality


def found(masks, labels, void=0.1, teacher=None):
    return {"masks_share": masks, "labels_share": labels, "void": void, "teacher": teacher}


def test_nothing_is_said_where_nothing_is_odd():
    shares = {"road": 0.7, "car": 0.3, "bus": 0.0}
    assert label_quality.warnings(found(shares, shares, teacher={"miou": 0.6, "images": 8}), shares) == []


def test_what_will_not_work_is_named():
    masks = {"road": 0.6, "car": 0.2, "pole": 0.1, "sign": 0.1, "bus": 0.0}
    predicted = {"road": 0.7, "car": 0.29, "pole": 0.0, "sign": 0.01, "bus": 0.0}
    labels = {"road": 0.9, "car": 0.099, "pole": 0.0, "sign": 0.001, "bus": 0.0}
    said = " ".join(label_quality.warnings(found(masks, labels, 0.62, {"miou": 0.21, "images": 8}), predicted))
    assert "never predicts pole, which" in said and "Few labels of sign are left" in said
    assert "62 % of the pixels are void" in said and "mIoU 21 % on 8 images" in said
    assert "bus" not in said and "car" not in said and said.endswith("or train the teacher longer.")


def test_a_teacher_of_two_classes_that_sees_hardly_any_of_one_is_weak():
    """Its mIoU is one half, since background is right nearly everywhere."""
    shares = {"background": 0.98, "crack": 0.02}
    for crack, weak in ((0.04, True), (0.4, False)):
        teacher = {"miou": (0.98 + crack) / 2, "iou": {"background": 0.98, "crack": crack}, "images": 8}
        said = " ".join(label_quality.warnings(found(shares, shares, teacher=teacher), shares))
        assert ("weak: mIoU 4 % without background, its best class, on 8 images." in said) == weak
    alone = {"miou": 0.98, "iou": {"background": 0.98, "crack": None}, "images": 8}
    assert label_quality.warnings(found(shares, shares, teacher=alone), shares) == []


def test_masks_that_the_run_does_not_train_on_tell_how_many_labels_are_right():
    """Of the second image there is no mask. Void, in a mask or a label, is neither right nor wrong."""
    masks = {10: [0, 0, 1, 255, 1], 12: [0, 0, 0, 1, 1]}
    labels = ([0, 1, 1, 1, 255], [2, 2, 2, 2, 2], [0, 0, 0, 1, 1])

    def stored(values):
        return encode_label(np.array([values], np.uint8))

    pool = types.SimpleNamespace(
        split="train",
        unlabelled=(10, 11, 12),
        ids=lambda _: ("a", "b", "c"),
        dataset=types.SimpleNamespace(labelled_ids=lambda _: ("a", "c", "trained on")),
        reader=types.SimpleNamespace(label_bytes=lambda record: stored(masks[record])),
    )
    description = types.SimpleNamespace(classes=("road", "car", "bus"))
    labelled = types.SimpleNamespace(label_bytes=lambda position: stored(labels[position]))
    this = types.SimpleNamespace(pool=pool, description=description)
    checked = label_quality._checked(this, types.SimpleNamespace(images=(labelled, None)))
    assert checked == {
        "images": 2,
        "accuracy": 7 / 8,
        "precision": {"road": 4 / 4, "car": 3 / 4, "bus": None},
        "recall": {"road": 4 / 5, "car": 3 / 4, "bus": None},
    }


def test_it_is_told_once_and_kept(tmp_path, caplog):
    kept = found({}, {}, 0.25) | {"warnings": ["The teacher never predicts pole."]}
    (tmp_path / "quality.json").write_text(json.dumps(kept))
    label_quality.tell(None, None, tmp_path)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages == ["pseudo labels: The teacher never predicts pole."]
