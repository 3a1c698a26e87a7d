"""A step's crops: those that a process reads, from any step on, and what they are of, whichever process asks."""

import types

import jax
import numpy as np
import pytest

from csst_jax.data import batches
from csst_jax.samplers.uniform import UniformImageSampler
from csst_jax.stages import feed as feeds
from csst_jax.stages.feed import Feed
from csst_jax.streams import LABELLED
from csst_jax.types import Phase


@pytest.fixture
def feed(monkeypatch):
    """Two steps of eight crops. What would be read is shown as it is planned."""
    monkeypatch.setattr(feeds.sampling, "readers", lambda _: [types.SimpleNamespace(describe="image {}".format)])
    monkeypatch.setattr(batches, "batches", lambda specs, *_, **__: specs)
    training = types.SimpleNamespace(streams=[LABELLED], sampling=types.SimpleNamespace(scale_range=(1.0, 1.0)))
    sampler = UniformImageSampler([(0, record, 96, 128) for record in range(8)])
    given = types.SimpleNamespace(cache_mb=0, parallel_batches=1, prefetch=1)
    return Feed(training, {}, {"labelled": sampler}, [Phase(32, 8, 2)], 0, given)


def test_a_process_reads_its_part_from_any_step_on(feed, monkeypatch):
    first, second = (spec.rows for spec in feed.batches(0))
    assert len(first) == 8 and not np.array_equal(first, second)
    (later,) = (spec.rows for spec in feed.batches(1))
    np.testing.assert_array_equal(later, second)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    (own,) = (spec.rows for spec in feed.batches(1))
    np.testing.assert_array_equal(own, second[4:])


def test_the_crops_of_all_processes_are_described(feed, monkeypatch):
    alone = feed.described(1)
    assert len(alone) == 8 and all(words.startswith("image ") and " at (" in words for words in alone)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert feed.described(1) == alone
