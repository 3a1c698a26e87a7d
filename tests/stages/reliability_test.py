"""Reliability of images by agreement of networks, against the published rule in plain numpy."""

import types

import numpy as np
import pytest

from csst_jax.stages import reliability


def published(predictions, num_classes):
    """Of one image, as `select_reliable` has it: mean over the earlier networks of nanmean over classes of IoU."""
    *earlier, last = predictions
    scores = []
    for one in earlier:
        hist = np.zeros((num_classes, num_classes))
        np.add.at(hist, (last.ravel(), one.ravel()), 1)
        with np.errstate(invalid="ignore"):
            scores.append(np.nanmean(np.diag(hist) / (hist.sum(1) + hist.sum(0) - np.diag(hist))))
    return np.mean(scores)


def test_reliability_is_the_mean_iou_of_earlier_networks_with_the_last_one():
    rng = np.random.default_rng(0)
    images = [[rng.integers(0, 3, (9, 11)).astype(np.uint8) for _ in range(3)] for _ in range(4)]  # class 3 nowhere
    networks = [[types.SimpleNamespace(classes=image[k]) for image in images] for k in range(3)]
    found = list(reliability.agreements(networks[2], networks[0], networks[1], num_classes=4))
    assert found == pytest.approx([published(image, 4) for image in images])


def test_the_most_reliable_images_come_first_and_equal_ones_in_their_order():
    found = reliability.ordered({"a": 0.5, "b": 0.9, "c": 0.5, "d": 0.7})
    assert list(found) == ["b", "d", "a", "c"]


def experiment(ids, share):
    pool = types.SimpleNamespace(unlabelled=range(len(ids)), ids=lambda _: ids)
    label = types.SimpleNamespace(reliable_share=share)
    return types.SimpleNamespace(pool=pool, settings=types.SimpleNamespace(label=label))


def test_the_best_half_is_chosen_in_the_order_of_the_pool(tmp_path):
    reliability.write_json(tmp_path / reliability.FILE, {"b": 0.9, "d": 0.7, "a": 0.5, "e": 0.4, "c": 0.1})
    assert reliability.chosen(experiment("abcde", 0.5), tmp_path) == [1, 3], "5 // 2"
    assert reliability.chosen(experiment("abcde", 0.8), tmp_path) == [0, 1, 3, 4]
    assert reliability.chosen(experiment("abcde", 0.0), tmp_path) is None
