"""cityscapesscripts' evaluator and ours on the same files: the same counts, and scores to the last digit."""

import copy
import math

import numpy as np
import pytest
from PIL import Image

from csst_jax.data.descriptions import CITYSCAPES
from csst_jax.evaluation import submission
from csst_jax.evaluation.confusion import iou, miou
from csst_jax.evaluation.scores import Scores

official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
LABELS = official.id2label


@pytest.fixture
def files(tmp_path):
    """Ground truth with all labelIds, the ignored ones too, and predictions that our writer wrote; without trains."""
    rng = np.random.default_rng(0)
    bus, train = CITYSCAPES.classes.index("bus"), CITYSCAPES.classes.index("train")
    pairs = []
    for number in range(3):
        label_ids = rng.integers(0, 34, (60, 80)).astype(np.uint8)
        label_ids[np.isin(label_ids, [28, 31])] = 0
        to_class = np.full(256, 255, np.uint8)
        to_class[list(CITYSCAPES.official_ids)] = np.arange(19)
        label = to_class[label_ids]
        guess = np.where(rng.random(label.shape) < 0.6, label, rng.integers(0, 19, label.shape)).astype(np.uint8)
        guess[guess == 255] = 3
        guess[guess == train] = bus  # trains are nowhere, buses in the predictions alone
        image_id = f"lindau_00000{number}_000019"
        truth = tmp_path / f"{image_id}_gtFine_labelIds.png"
        Image.fromarray(label_ids).save(truth)
        submission.write_image(tmp_path / "results", submission.FORMATS["cityscapes"], CITYSCAPES, image_id, guess)
        pairs.append((truth, tmp_path / "results" / f"{image_id}.png", label, guess))
    return pairs


def test_the_same_counts_and_scores_to_the_last_digit(files):
    args = copy.copy(official.args)
    args.evalInstLevelScore = args.JSONOutput = False
    args.quiet = True
    theirs = official.evaluateImgLists([str(p) for _, p, _, _ in files], [str(t) for t, _, _, _ in files], args)
    scores = Scores(CITYSCAPES.classes, len(files), 0.02)
    for position, (_, _, label, guess) in enumerate(files):
        scores.update(position, label, guess)
    ours = scores.result(["a", "b", "c"])

    ids = list(CITYSCAPES.official_ids)
    assert [LABELS[i].name for i in ids] == list(CITYSCAPES.classes)
    np.testing.assert_array_equal(ours["confusion"], np.array(theirs["confMatrix"])[np.ix_(ids, ids)])
    expected = [theirs["classScores"][name] for name in CITYSCAPES.classes]
    assert math.isnan(expected[16]) and expected[15] == 0
    assert list(ours["iou"].values()) == [None if math.isnan(s) else s for s in expected]
    assert ours["miou"] == theirs["averageScoreClasses"]
    assert miou(np.array(ours["confusion"])) == ours["miou"]


def test_the_predictions_are_found_as_the_server_finds_them(files):
    args = copy.copy(official.args)
    args.predictionPath, args.predictionWalk = str(files[0][1].parent), None
    for truth, prediction, _, _ in files:
        assert official.getPrediction(args, str(truth)) == str(prediction)


def test_a_mean_in_another_order_has_another_last_digit():
    """Why the mean is summed class by class."""
    rng = np.random.default_rng(0)
    matrices = [rng.integers(0, 1000, (19, 19)) for _ in range(50)]
    assert any(miou(m) != iou(m).mean() for m in matrices)
