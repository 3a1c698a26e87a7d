"""A feed's last steps, over which batch normalisation is measured: all of one size."""

import numpy as np
import pytest

from csst_jax.stages.feed import Feed
from csst_jax.types import Phase


@pytest.fixture
def feed(monkeypatch):
    """Gives the number of each step in place of its crops."""

    def make(*phases):
        planned = [Phase(*phase) for phase in phases]
        total = sum(phase.steps for phase in planned)
        monkeypatch.setattr(Feed, "batches", lambda _, start: iter(np.arange(start, total).tolist()))
        return Feed(None, {}, {}, planned, 0, None)

    return make


def test_the_last_steps_come_from_as_many_epochs_as_they_need(feed):
    assert list(feed((64, 8, 3), (64, 8, 3), (64, 8, 3)).last_batches(4)) == [5, 6, 7, 8]


def test_they_stop_where_crops_or_batches_were_of_another_size(feed):
    assert list(feed((32, 16, 3), (64, 8, 3), (64, 8, 2)).last_batches(50)) == [3, 4, 5, 6, 7]
    assert list(feed((64, 16, 3), (64, 8, 2)).last_batches(50)) == [3, 4]
