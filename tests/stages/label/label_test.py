"""The label stage: what it writes, and what it leaves out."""

import dataclasses
import json

import numpy as np
import pytest

from csst_jax import build
from csst_jax.data.store import DataSet
from csst_jax.data.stored import centroid_index
from csst_jax.data.stored.encoded import decode_label
from csst_jax.runtime.workdir import SHEET_FILE
from csst_jax.settings import resolve
from csst_jax.stages import label
from csst_jax.stages.artifact import Artifact, Request
from csst_jax.stages.label import MANIFEST_FILE
from csst_jax.streams import PSEUDO
from tests.stages.guesser import Guesser
from tests.stages.label.parts import TEACHER, decoded, experiment


def test_soft_labels_hold_the_most_probable_classes_beside_the_hard_ones(run_soft, config, tmp_path):
    labelled, _ = run_soft()
    for i in range(4):
        maps = decode_label(labelled.pair_bytes(i)[1])
        label = decode_label(labelled.label_bytes(i))
        np.testing.assert_array_equal(maps[0], label)
        void = label == 255
        assert void.any() and not maps[1:, void].any()
        np.testing.assert_array_equal(maps[1][~void], (label[~void] + 1) % 4)
        sure = maps[3:, 0, 0]
        np.testing.assert_allclose(sure / 255, np.array([0.05, 0.02]) / 0.97, atol=1 / 255)
    soft = json.loads((tmp_path / "pseudo_labels" / MANIFEST_FILE).read_text())["soft"]
    stored = sum(len(labelled.soft_bytes(i)) for i in range(4))
    assert soft["bytes_a_pixel"] == pytest.approx(stored / (4 * 96 * 128)) and len(soft["sha256"]) == 64


def test_labels_index_and_manifest_tell_the_same(run, selection, config, tmp_path):
    labelled, index = run()
    assert len(labelled) == 4
    assert index.ids == selection.ids(selection.unlabelled) == ("image04", "image05", "image06", "image07")
    for i, record in enumerate(selection.unlabelled):
        expected = np.zeros((96, 128), np.uint8)
        expected[10:15, 20:24] = record % 4
        np.testing.assert_array_equal(decoded(labelled, i), expected)
        assert labelled.image_bytes(i) == selection.reader.image_bytes(record)
        klass, _y, _x, area = centroid_index.components(expected, 4)
        mine = index.record == i
        np.testing.assert_array_equal(np.sort(index.klass[mine]), np.sort(klass))
        np.testing.assert_array_equal(np.sort(index.area[mine]), np.sort(area))
    manifest = json.loads((tmp_path / "pseudo_labels" / label.MANIFEST_FILE).read_text())
    patch, whole = 20, 4 * 96 * 128
    assert manifest["class_share"]["post"] == pytest.approx(patch / whole)  # class 2, in one image
    assert sum(manifest["class_share"].values()) == pytest.approx(1)
    assert manifest["mean_confidence"]["post"] == pytest.approx((19 * 0.9 + 0.4) / 20)
    assert (manifest["teacher_sha256"], manifest["images"], manifest["shards"]) == ("teacherhash", 4, 2)
    assert manifest["ignored_share"] == 0 and manifest["settings"]["shard_size"] == 2
    assert (tmp_path / "pseudo_labels" / SHEET_FILE).stat().st_size > 1000


def test_the_contact_sheet_shows_the_labels_that_are_stored(run, config, monkeypatch):
    drawn = []
    monkeypatch.setattr(label, "contact_sheet", lambda rows, *_, **__: drawn.extend(rows))
    config.label.class_portion = 0.5
    labelled, _ = run()
    for (_, (caption, picture), _), position in zip(drawn, (0, 3), strict=True):
        void = decode_label(labelled.label_bytes(position)) == 255
        assert caption == "pseudo label" and void.any()
        np.testing.assert_array_equal((picture == 0).all(-1), void, "void is black")


def test_joined_images_are_labelled_and_sampled_with_the_others(config, tiny_data, tmp_path, monkeypatch):
    config.data.more_unlabelled = f"{tiny_data}:val"
    config.student.sampler.real_share = 0.5
    joined = resolve.data(config).training(DataSet.open(tiny_data))
    monkeypatch.setattr(label.build, "predictor", lambda *_, **__: Guesser(joined))
    artifact = Artifact(tmp_path / "pseudo_labels", Request({}))
    labelled, index = label.run(experiment(config, joined), artifact, TEACHER).images
    assert len(labelled) == 4 + 3
    assert index.ids[3:] == ("image07", "tiny/val/image00", "tiny/val/image01", "tiny/val/image02")
    val = DataSet.open(tiny_data).reader("val")
    for i in range(3):
        image, mask = labelled.pair_bytes(4 + i)
        assert image == val.image_bytes(i) and mask != val.label_bytes(i)  # the guess, not the mask
    student = resolve.run(config).student
    images = build.images(student, joined, (labelled, index))
    plan = build.samplers(student, images, joined.dataset.description.classes)["labelled"].plan(0, 0, 64)
    assert set(plan["record"][plan["origin"] == 0].tolist()) <= {0, 1, 2, 3}
    assert {4, 5, 6} & set(plan["record"][plan["origin"] == 1].tolist())


def test_selected_images_of_the_round_before_keep_their_labels(run_soft, config, selection, tmp_path, monkeypatch):
    before = label.PseudoLabels(run_soft("first"), "teacherhash", records=[0, 2])

    asked = []

    class Other(Guesser):
        def __call__(self, source, records):
            for prediction in super().__call__(source, records):
                asked.append(prediction.record)
                changed = {"classes": 3 - prediction.classes, "confidence": np.full((96, 128), 0.9)}
                yield dataclasses.replace(prediction, **changed)

    monkeypatch.setattr(label.build, "predictor", lambda *_, **__: Other(selection))
    artifact = Artifact(tmp_path / "second", Request({}))
    made = label.run(experiment(config, selection), artifact, TEACHER, before)
    old, new = before.images[0], made.images[0]
    for kind in ("label_bytes", "soft_bytes"):
        assert [getattr(old, kind)(i) == getattr(new, kind)(i) for i in range(4)] == [True, False, True, False], kind
    assert (decoded(new, 1)[90:] == 3).all() and made.records is None, "the last round trains on all of them"
    assert artifact.result["ignored_share"] == pytest.approx((6 * 128 + 1) / (96 * 128) / 2), "void that stays counts"
    asked_to_label = asked[: -config.evaluate.num_pictures]  # the last ones are for the contact sheet
    assert asked_to_label == [5, 7], "labels that stay are not predicted again"
    share, sure = artifact.result["class_share"], artifact.result["mean_confidence"]
    known = 96 * 128 - 6 * 128 - 1  # pixels of a label that stays and are not void
    assert share["post"] == pytest.approx((19 + 20) / (2 * known + 2 * 96 * 128)), "19 stay, 20 are predicted"
    assert sure["sign"] == pytest.approx(0.9) and sure["box"] is None, "of predicted pixels alone"


def test_labels_that_stay_have_no_part_in_the_thresholds_of_the_others(run, config, selection, tmp_path, monkeypatch):
    """The teacher of a second round was trained on them: surer of them than of any other image."""
    before = label.PseudoLabels(run("first"), "teacherhash", records=[0, 2])

    class Surer(Guesser):
        def __call__(self, source, records):
            for prediction in super().__call__(source, records):
                learned = prediction.record in (4, 6)
                yield dataclasses.replace(prediction, confidence=prediction.confidence + np.float32(0.09 * learned))

    monkeypatch.setattr(label.build, "predictor", lambda *_, **__: Surer(selection))
    config.label.class_portion = 0.5
    artifact = Artifact(tmp_path / "second", Request({}))
    labelled, _ = label.run(experiment(config, selection), artifact, TEACHER, before).images
    assert [(decoded(labelled, i) == 255).sum() for i in (1, 3)] == [6 * 128 + 1] * 2, "half of them would be void"


def test_confidence_threshold_makes_void(run, config, tmp_path):
    config.label.confidence_threshold = 0.5
    labelled, index = run()
    for i in range(4):
        got = decoded(labelled, i)
        assert (got[90:] == 255).all() and got[10, 20] == 255 and (got == 255).sum() == 6 * 128 + 1
    assert index.area.sum() == 4 * (96 * 128 - 6 * 128 - 1)
    manifest = json.loads((tmp_path / "pseudo_labels" / label.MANIFEST_FILE).read_text())
    assert manifest["ignored_share"] == pytest.approx((6 * 128 + 1) / (96 * 128))
    # what was dropped stays visible in the statistics
    assert manifest["mean_confidence"]["post"] == pytest.approx((19 * 0.9 + 0.4) / 20)


def test_the_surest_share_of_a_class_stays(run, config):
    config.label.class_portion = 0.5
    labelled, _ = run()
    for i in range(4):
        got = decoded(labelled, i)
        assert (got[90:] == 255).all() and got[10, 20] == 255, "less sure than half of their class"
        assert (got == 255).sum() == 6 * 128 + 1, "as sure as the surest ones"


@pytest.mark.parametrize("min_area_px,classes", [(21, {0}), (20, {0, 1, 2, 3})])
def test_small_components_are_no_centres_of_crops(run, config, selection, min_area_px, classes):
    config.student.sampler.pseudo_min_area_px = min_area_px
    student = resolve.run(config).student
    images = {PSEUDO: build.images(student, selection, run())[PSEUDO]}
    sampler = build.samplers(student, images, ("ground", "box", "post", "sign"))["labelled"]
    assert set(sampler.plan(0, 0, 50)["klass"]) == classes
