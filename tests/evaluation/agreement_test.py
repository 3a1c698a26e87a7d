"""How far two label maps agree, against counting pixel by pixel."""

import numpy as np
import pytest

from csst_jax.evaluation import agreement

CLASSES = ("road", "pole", "sign", "sky")


def label(seed, void=0.2):
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 3, (13, 17)).astype(np.uint8)  # no sky
    return np.where(rng.random(found.shape) < void, np.uint8(255), found)


def by_hand(first, second):
    """Mean IoU over the classes that one of them shows, void in none of them."""
    pairs = [(a, b) for a, b in zip(first.ravel(), second.ravel(), strict=True) if 255 not in (a, b)]
    shown = sorted({value for pair in pairs for value in pair})
    scores = [sum(a == b == c for a, b in pairs) / sum(c in pair for pair in pairs) for c in shown]
    return sum(scores) / len(scores)


@pytest.mark.parametrize("seed", range(3))
def test_mean_iou_of_two_maps(seed):
    first, second = label(seed), label(seed + 10)
    assert agreement.mean_iou(first, second, 4) == pytest.approx(by_hand(first, second))
    assert agreement.mean_iou(second, first, 4) == pytest.approx(by_hand(first, second)), "either way"
    assert agreement.mean_iou(first, first, 4) == 1.0
    assert agreement.mean_iou(first, np.full_like(first, 255), 4) == 1.0, "nothing to disagree on"


def test_a_class_that_one_map_alone_shows_counts_as_nought():
    first, second = np.zeros((2, 4), np.uint8), np.zeros((2, 4), np.uint8)
    second[0, 0] = 3
    assert agreement.mean_iou(first, second, 4) == pytest.approx((7 / 8 + 0) / 2)


def test_change_counts_pixels_classes_and_void():
    first, second = label(1), label(2)
    found = agreement.change(agreement.counted(first, second, 4), CLASSES)
    both = (first != 255) & (second != 255)
    assert found["changed"] == pytest.approx((first != second).mean())
    assert found["agreement"] == pytest.approx((first == second)[both].mean())
    assert found["miou"] == pytest.approx(by_hand(first, second))
    assert found["void"] == {"before": (first == 255).mean(), "now": (second == 255).mean()}
    for when, own in (("before", first), ("now", second)):
        assert found["class_share"][when]["pole"] == pytest.approx((own == 1).sum() / (own != 255).sum())
    assert found["iou"]["sky"] is None and found["class_share"]["now"]["sky"] == 0


def test_labels_that_are_void_all_over_leave_nothing_to_say():
    void = np.full((3, 5), 255, np.uint8)
    found = agreement.change(agreement.counted(void, void, 4), CLASSES)
    assert (found["changed"], found["agreement"], found["miou"]) == (0.0, None, None)
    assert found["class_share"]["now"]["road"] is None
