"""The bootstrap over images."""

import numpy as np
import pytest

from csst_jax.reporting import certainty
from tests.reporting.made_workdir import counts


def test_the_same_network_differs_by_nothing():
    mean, by_class = certainty.intervals(counts(0.7), counts(0.7))
    assert (mean.low, mean.high) == (0, 0) and not mean.sure
    assert np.isnan(by_class[2].low) and not by_class[2].sure, "a class that is nowhere"


def test_intervals_are_those_of_resamples_drawn_one_by_one(monkeypatch):
    monkeypatch.setattr(certainty, "RESAMPLES", 50)
    ours, theirs = counts(0.8), counts(0.75)
    drawn = np.random.default_rng(0).multinomial(len(ours), np.full(len(ours), 1 / len(ours)), size=50)

    def scores(found, times):
        intersection, truth, predicted = np.repeat(found, times, axis=0).sum(0)
        return (intersection / np.maximum(truth + predicted - intersection, 1))[:2]

    gains = np.array([scores(ours, times) - scores(theirs, times) for times in drawn])
    mean, by_class = certainty.intervals(ours, theirs)
    assert (mean.low, mean.high) == pytest.approx(np.quantile(gains.mean(1), [0.025, 0.975]))
    assert (by_class[1].low, by_class[1].high) == pytest.approx(np.quantile(gains[:, 1], [0.025, 0.975]))
    assert mean.sure and mean == certainty.intervals(ours, theirs)[0], "a fixed seed"


def test_few_images_are_less_sure_than_many():
    few, many = counts(0.8)[: certainty.LEAST_IMAGES], np.concatenate([counts(0.8)] * 20)
    widths = [interval.high - interval.low for interval in (certainty.intervals(found)[0] for found in (few, many))]
    assert widths[0] > 2 * widths[1]


def test_very_few_images_have_no_interval():
    with pytest.raises(ValueError, match="7 images have no interval; 8 are the least"):
        certainty.intervals(counts(0.8)[:7])


def test_what_one_image_alone_shows_is_not_sure():
    ours, theirs = counts(0.8), counts(0.6)
    for found in (ours, theirs):
        found[1:, :, 0] = 0
    assert not certainty.intervals(ours, theirs)[1][0].sure
