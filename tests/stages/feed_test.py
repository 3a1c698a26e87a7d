"""A feed's last steps, over which batch normalisation is measured, are of one size; a step's crops are described."""

import types

import jax
import numpy as np
import pytest

from csst_jax.samplers.uniform import UniformImageSampler
from csst_jax.stages import feed as feeds
from csst_jax.stages.feed import Feed
from csst_jax.streams import LABELLED
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


def test_the_crops_of_all_processes_are_described(monkeypatch):
    monkeypatch.setattr(feeds.sampling, "readers", lambda _: [types.SimpleNamespace(describe="image {}".format)])
    training = types.SimpleNamespace(streams=[LABELLED], sampling=types.SimpleNamespace(scale_range=(1.0, 1.0)))
    sampler = UniformImageSampler([(0, record, 96, 128) for record in range(8)])
    feed = Feed(training, {}, {"labelled": sampler}, [Phase(32, 8, 2)], 0, None)
    alone = feed.described(1)
    assert len(alone) == 8 and all(words.startswith("image ") and " at (" in words for words in alone)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert feed.described(1) == alone
